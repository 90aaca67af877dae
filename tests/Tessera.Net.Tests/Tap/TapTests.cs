using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Tessera.Plugins.Net.Tap;
using Tessera.Plugins.Net.Tap.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>Frames with their needs through a device, and a real one where the host allows it.</summary>
internal sealed class TapTests
{
    private static readonly MacAddress Other = new(0x0016_3E00_0002);

    [Test]
    public void Frames_of_every_length_arrive_with_what_they_need()
    {
        (Tap one, Tap two) = TapPair.NewPair();
        using NatStation sender = new(one, 1);
        using NatStation receiver = new(two, 2);
        Random random = new(1);
        foreach (int length in (int[])[14, 60, 1514, 9000, 65535])
        {
            byte[] frame = new byte[length];
            random.NextBytes(frame);
            (frame[12], frame[13]) = (0x88, 0xB5);
            sender.Send(frame);
            Assert.That(receiver.Next(_ => true), Is.EqualTo(frame));
        }
    }

    [TestCase(false, 8)]
    [TestCase(true, 8)]
    public void What_a_frame_needs_is_told_and_understood(bool isV6, int options)
    {
        byte[] frame = TcpFrame(isV6, options, 3000);
        int start = isV6 ? 54 : 34;
        FrameOffload offload = new(FrameChecksum.Blank, isV6 ? FrameSegmentation.TcpV6 : FrameSegmentation.TcpV4, 1400);
        byte[] header = new byte[VirtioHeader.Bytes];
        Assert.That(VirtioHeader.TryWrite(header, frame, offload), Is.True);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(header[0], Is.EqualTo(1), "the checksum is to be filled in");
            Assert.That(header[1], Is.EqualTo(isV6 ? 4 : 1));
            Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(2)), Is.EqualTo(start + 20 + options), "all headers");
            Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(4)), Is.EqualTo(1400));
            Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(6)), Is.EqualTo(start));
            Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(8)), Is.EqualTo(16));
        }

        Assert.That(VirtioHeader.TryRead(header, out FrameOffload read), Is.True);
        Assert.That(read, Is.EqualTo(offload));
    }

    [Test]
    public void Whatever_a_guest_says_of_a_frame_the_device_is_told_what_is_in_it()
    {
        Random random = new(2);
        byte[] header = new byte[VirtioHeader.Bytes];
        for (int count = 0; count < 200_000; count++)
        {
            byte[] frame = TcpFrame(random.Next(2) == 0, random.Next(0, 10) * 4, random.Next(0, 100));
            for (int changes = random.Next(4); changes > 0; changes--)
                frame[random.Next(12, frame.Length)] = (byte)random.Next(256);
            frame = frame[..random.Next(14, frame.Length + 1)];
            if (!VirtioHeader.TryWrite(header, frame, new FrameOffload((FrameChecksum)random.Next(3), (FrameSegmentation)random.Next(3), random.Next(-1, 70000))))
                continue;
            if (header[0] == 1)
                Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(6)) + BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(8)) + 2, Is.LessThanOrEqualTo(frame.Length));
            Assert.That(BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(2)), Is.LessThanOrEqualTo(frame.Length));
            Assert.That(header[1] == 0 || header[0] == 1, "only a frame with a blank checksum is cut");
        }
    }

    [Test]
    public void What_no_interface_takes_stays_outside()
    {
        (TapDevice device, TapDevice host) = TapPair.NewDevices();
        using NatStation guest = new(new Tap(new TapOptions(), _ => device), 1);
        byte[] good = new byte[VirtioHeader.Bytes + 60];
        byte[] datagramToCut = [.. good];
        (datagramToCut[0], datagramToCut[1], datagramToCut[4]) = (1, 3, 100);
        using (host)
        {
            Assert.That(host.Write(good.AsSpan(0, VirtioHeader.Bytes + 13)), Is.True);
            Assert.That(host.Write(new byte[VirtioHeader.Bytes + 65536]), Is.True);
            Assert.That(host.Write(datagramToCut), Is.True);
            Assert.That(host.Write(good), Is.True);
            Assert.That(guest.Next(_ => true), Has.Length.EqualTo(60));
        }
    }

    [TestCase("")]
    [TestCase("sixteen-letters-")]
    [TestCase("a/b")]
    public void A_name_that_is_none_is_refused(string name)
    {
        using Tap tap = new(new TapOptions { Device = name });
        Assert.That(() => new NatStation(tap), Throws.TypeOf<BackendException>().With.Message.Contains($"\"{name}\""));
    }

    [Test]
    public void A_device_that_is_no_tap_is_refused_with_the_cure()
    {
        using Tap tap = new(new TapOptions { Device = "lo" });
        Assert.That(() => new NatStation(tap), Throws.TypeOf<BackendException>().With.Message.StartsWith("tap: "));
    }

    [Test]
    public void A_device_that_goes_away_is_a_problem_of_its_interface()
    {
        (TapDevice device, TapDevice host) = TapPair.NewDevices();
        Tap tap = new(new TapOptions(), _ => device);
        using NatStation guest = new(tap, 1);
        Assert.That(tap.Problem, Is.Null);
        host.Dispose();
        Assert.That(SpinWait.SpinUntil(() => tap.Problem is not null, TimeSpan.FromMinutes(2)), Is.True);
        Assert.That(tap.Problem, Does.Contain("one is gone"));
        guest.Send(new byte[60]);
    }

    [Test]
    public void A_real_device_that_is_down_or_deleted_is_a_problem_of_its_interface()
    {
        Tap tap = new(new TapOptions { Device = "tsr-test%d" });
        using NatStation guest = Open(tap);
        if (!Run("ip", "link", "set", tap.DeviceName, "down"))
            Assert.Ignore("`ip link set` is not allowed here, or there is no ip.");
        Assert.That(tap.Problem, Does.Contain($"{tap.DeviceName} is down").And.Contain("ip link set"));
        Assert.That(Run("ip", "link", "set", tap.DeviceName, "up"), Is.True);
        Assert.That(tap.Problem, Is.Null);
        Assert.That(Run("ip", "link", "delete", tap.DeviceName), Is.True);
        Assert.That(SpinWait.SpinUntil(() => tap.Problem is not null, TimeSpan.FromMinutes(2)), Is.True);
        Assert.That(tap.Problem, Does.Contain($"{tap.DeviceName} is gone"));
    }

    [Test]
    public async Task The_hosts_own_stack_answers_and_fills_in_checksums()
    {
        Tap tap = new(new TapOptions { Device = "tsr-test%d" });
        using NatStation guest = Open(tap);
        (uint host, uint own) = (Packets.Address("10.213.77.1"), Packets.Address("10.213.77.2"));
        if (!Run("ip", "addr", "add", "10.213.77.1/30", "dev", tap.DeviceName))
            Assert.Ignore($"`ip addr add` to {tap.DeviceName} is not allowed here, or there is no ip.");
        guest.Send(Packets.ArpRequest(guest.Mac, own, host));
        MacAddress hostStation = MacAddress.Read(guest.Next(frame => Packets.IsArpReply(frame, host)).AsSpan(6));
        using UdpClient server = new(new IPEndPoint(IPAddress.Parse("10.213.77.1"), 0));
        ushort port = (ushort)((IPEndPoint)server.Client.LocalEndPoint!).Port;
        byte[] datagram = Packets.Ip(hostStation, guest.Mac, Packets.Udp, own, host, Packets.UdpPacket(777, port, "through"u8));
        // As a guest leaves it: the sum of the pseudo-header alone.
        ulong pseudo = InternetChecksum.Sum(datagram.AsSpan(26, 8), 17 + 15);
        BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(40), (ushort)~InternetChecksum.Fold(pseudo));
        guest.Send(datagram, new FrameOffload(FrameChecksum.Blank));
        UdpReceiveResult got = await server.ReceiveAsync();
        Assert.That(got.Buffer, Is.EqualTo("through"u8.ToArray()));
        _ = await server.SendAsync("back"u8.ToArray(), got.RemoteEndPoint);
        guest.Send(Packets.ArpReply(guest.Mac, hostStation, own, host));
        byte[] answer = guest.Next(frame => Packets.IsFor(frame, Packets.Udp, 777));
        Assert.That(Packets.UdpPayload(answer), Is.EqualTo("back"u8.ToArray()));
    }

    private static NatStation Open(Tap tap)
    {
        try
        {
            return new NatStation(tap);
        }
        catch (BackendException exception)
        {
            tap.Dispose();
            Assert.Ignore(exception.Message);
            throw;
        }
    }

    private static bool Run(string program, params IEnumerable<string> arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }

    private static byte[] TcpFrame(bool isV6, int options, int payload)
    {
        byte[] tcp = new byte[20 + options + payload];
        tcp[12] = (byte)((5 + (options / 4)) << 4);
        if (!isV6)
            return Packets.Ip(Other, new(0x0016_3E00_0001), Packets.Tcp, 1, 2, tcp);
        byte[] ip = new byte[40 + tcp.Length];
        ip[0] = 0x60;
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(4), (ushort)tcp.Length);
        ip[6] = Packets.Tcp;
        tcp.CopyTo(ip, 40);
        return Station.Frame(Other, new(0x0016_3E00_0001), 0x86DD, ip);
    }
}
