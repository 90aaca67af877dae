using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using Tessera.Kernel.Devices.Network;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices.Network;

/// <summary>No interface sends in another's name unless it is configured so.</summary>
internal sealed class SourceGuardTests
{
    private const uint Own = 0x0A00_0001;
    private const uint Other = 0x0A00_0002;
    private static readonly MacAddress Address = new(0x0016_3E00_0001);
    private static readonly MacAddress Stranger = new(0x0016_3E00_0002);
    private static readonly SourceGuard Anywhere = new(Address, []);
    private static readonly SourceGuard AtHome = new(Address, [IPAddress.Parse("10.0.0.1"), IPAddress.Parse("fe80::1")]);

    [Test]
    public void An_Ethernet_address_must_be_its_own()
    {
        Assert.That(Anywhere.Allows(V4(Address, Other)), Is.True, "nobody knows its IP address");
        Assert.That(Anywhere.Allows(V4(Stranger, Own)), Is.False);
        Assert.That(Anywhere.Allows(Arp(Address, Address, Other)), Is.True);
        Assert.That(Anywhere.Allows(Arp(Address, Stranger, Own)), Is.False, "an answer in another's name");
        Assert.That(Anywhere.Allows(Tagged(Arp(Address, Stranger, Own))), Is.False, "the same in a virtual network");
        Assert.That(Anywhere.Allows(Arp(Address, Address, Own).AsSpan(0, 41)), Is.False, "cut short");
        Assert.That(Anywhere.Allows(Frame(Address, 0x88B5, 46)), Is.True);
        Assert.That(Anywhere.Allows(Frame(Address, 0x88B5, 0)), Is.True);
    }

    [Test]
    public void IP_addresses_that_are_known_must_be_its_own()
    {
        Assert.That(AtHome.Allows(V4(Address, Own)), Is.True);
        Assert.That(AtHome.Allows(V4(Address, Other)), Is.False);
        Assert.That(AtHome.Allows(V4(Address, Own).AsSpan(0, 33)), Is.False, "cut short");
        Assert.That(AtHome.Allows(Tagged(V4(Address, Own))), Is.True);
        Assert.That(AtHome.Allows(Tagged(V4(Address, Other))), Is.False);
        Assert.That(AtHome.Allows(Tagged(Tagged(V4(Address, Own)))), Is.True, "two tags");
        Assert.That(AtHome.Allows(Tagged(Tagged(V4(Address, Other)))), Is.False);
        Assert.That(AtHome.Allows(Tagged(Tagged(Tagged(Tagged(Tagged(V4(Address, Own))))))), Is.False, "more than are looked through");
        Assert.That(AtHome.Allows(V6(Address, "fe80::1")), Is.True);
        Assert.That(AtHome.Allows(V6(Address, "fe80::2")), Is.False);
        Assert.That(AtHome.Allows(V6(Address, "fe80::216:3eff:fe00:1")), Is.True, "the link-local address that follows from its Ethernet address");
        Assert.That(AtHome.Allows(V6(Address, "fe80::216:3eff:fe00:2")), Is.False);
        Assert.That(AtHome.Allows(V6(Address, "::")), Is.False, "no purpose");
        Assert.That(AtHome.Allows(V6(Address, "::a00:1")), Is.False, "an IPv4 address is no IPv6 address");
        Assert.That(AtHome.Allows(Arp(Address, Address, Own)), Is.True);
        Assert.That(AtHome.Allows(Arp(Address, Address, Other)), Is.False);
        Assert.That(AtHome.Allows(Frame(Address, 0x88B5, 46)), Is.False);
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Frames_in_anothers_name_are_refused_unless_that_is_allowed(bool antiSpoofing)
    {
        using HandMachine machine = new();
        using RecordingBackend backend = new();
        HandNetFrontend frontend = new(machine, machine.Create(), backend, antiSpoofing: antiSpoofing);
        V4(Stranger, Own).CopyTo(frontend.Data(0));
        V4(Address, Own).CopyTo(frontend.Data(1));
        Assert.That(frontend.Run(HandNetFrontend.Piece(0, 60)), Is.EqualTo(new[] { antiSpoofing ? NetStatus.Error : NetStatus.Okay }));
        // The address in several pieces is the same address.
        V4(Stranger, Own).AsSpan(0, 8).CopyTo(frontend.Data(2));
        V4(Stranger, Own).AsSpan(8, 52).CopyTo(frontend.Data(3));
        NetStatus[] pieces = frontend.Run(HandNetFrontend.Piece(2, 60, NetTxFlags.MoreData), HandNetFrontend.Piece(3, 52));
        Assert.That(pieces, Is.All.EqualTo(antiSpoofing ? NetStatus.Error : NetStatus.Okay));
        Assert.That(frontend.Run(HandNetFrontend.Piece(1, 60)), Is.EqualTo(new[] { NetStatus.Okay }));
        Assert.That((backend.Sent.Count, frontend.Nic.Read().Refused), Is.EqualTo(antiSpoofing ? (1, 2L) : (3, 0L)));
    }

    /// <summary>Prints what it costs; that it allocates nothing is what is required.</summary>
    [Test]
    public void A_frame_costs_no_allocation()
    {
        byte[] frame = V4(Address, Own);
        foreach ((string what, SourceGuard guard) in (ReadOnlySpan<(string, SourceGuard)>)[("Ethernet", Anywhere), ("and IP", AtHome)])
        {
            const int rounds = 1_000_000;
            long least = long.MaxValue;
            double cost = double.MaxValue;
            for (int attempt = 0; attempt < 5; attempt++)
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                long start = Stopwatch.GetTimestamp();
                int allowed = 0;
                for (int round = 0; round < rounds; round++)
                    allowed += guard.Allows(frame) ? 1 : 0;
                cost = Math.Min(cost, Stopwatch.GetElapsedTime(start).TotalNanoseconds / rounds);
                least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
                Assert.That(allowed, Is.EqualTo(rounds));
            }

            TestContext.Out.WriteLine($"{what}: {cost:0.00} ns a frame");
            Assert.That(least, Is.Zero);
        }
    }

    private static byte[] Frame(MacAddress source, int type, int payload)
    {
        byte[] frame = new byte[14 + payload];
        source.Write(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), (ushort)type);
        return frame;
    }

    private static byte[] V4(MacAddress source, uint address)
    {
        byte[] frame = Frame(source, 0x0800, 46);
        (frame[14], frame[17], frame[23]) = (0x45, 46, 6);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(26), address);
        return frame;
    }

    private static byte[] V6(MacAddress source, string address)
    {
        byte[] frame = Frame(source, 0x86DD, 60);
        (frame[14], frame[19], frame[20]) = (0x60, 20, 6);
        IPAddress.Parse(address).GetAddressBytes().CopyTo(frame, 22);
        return frame;
    }

    private static byte[] Arp(MacAddress source, MacAddress said, uint address)
    {
        byte[] frame = Frame(source, 0x0806, 46);
        ((byte[])[0, 1, 8, 0, 6, 4, 0, 2]).CopyTo(frame, 14);
        said.Write(frame.AsSpan(22));
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(28), address);
        return frame;
    }

    private static byte[] Tagged(byte[] frame) => [.. frame[..12], 0x81, 0, 0, 5, .. frame[12..]];
}
