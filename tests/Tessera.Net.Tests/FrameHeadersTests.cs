using System.Buffers.Binary;
using FsCheck;
using FsCheck.Fluent;
using Tessera.Plugins.Net.Filter;
using Tessera.Plugins.Net.Tap;
using Tessera.Sdk.Devices;

namespace Tessera.Net.Tests;

/// <summary>What stands between the Ethernet header and the upper layer hides nothing, from rules or from whoever fills in checksums.</summary>
internal sealed class FrameHeadersTests
{
    private static readonly Config Many = Config.QuickThrowOnFailure.WithMaxTest(2_000);

    private static readonly string[] Drops = ["drop tcp dport 22", "drop udp dport 22-80", "drop icmp", "drop dport 22", "drop src 10.0.0.0/24", "drop ip6", "drop tcp; drop udp", "drop src ::/0 dport 80"];

    private static readonly string[] Mixed = [.. Drops, "accept tcp dport 80; drop tcp", "accept dport 22; drop ip6; drop ip", "accept icmp; accept udp sport 1000; drop src 10.0.0.1; drop tcp sport 1000-1001"];

    [Test]
    public void A_rule_says_of_a_packet_behind_tags_and_extension_headers_what_it_says_of_the_plain_one() => Prop.ForAll(
        HeaderStack.Shallow, Gen.Elements(Mixed).ToArbitrary(), (stack, rules) => Passes(rules, stack.Frame()) == Passes(rules, stack.Plain.Frame())).Check(Many);

    [Test]
    public void No_depth_and_no_fragment_takes_a_packet_past_a_rule_that_drops_it() => Prop.ForAll(
        HeaderStack.Any, Gen.Elements(Mixed).ToArbitrary(), Gen.Choose(1, 20).ToArbitrary(), (stack, rules, cut) =>
        {
            if (Passes(rules, stack.Plain.Frame()))
                return true;
            // Without its first piece a packet is never put together; where nothing is accepted before, no piece passes.
            (byte[] first, byte[] later) = stack.Fragments(cut);
            return !Passes(rules, stack.Frame()) && !Passes(rules, first) && (!Drops.Contains(rules) || !Passes(rules, later));
        }).Check(Many);

    [Test]
    public void What_is_not_seen_is_not_accepted_by_a_rule_that_names_it()
    {
        HeaderStack stack = new(IsV6: true, 6, 1000, 80, [], []);
        (byte[] first, byte[] later) = stack.Fragments(1);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(Passes("accept tcp dport 80; drop ip6", first), Is.True, "its ports are there");
            Assert.That(Passes("accept tcp dport 80; drop ip6", later), Is.False);
            Assert.That(Passes("accept tcp; drop ip6", later), Is.True, "its protocol is named in every piece");
            Assert.That(Passes("accept tcp; drop ip6", (stack with { Extensions = [.. Enumerable.Repeat<byte>(60, 9)] }).Frame()), Is.False);
        }
    }

    /// <summary>Cut at any byte, with any byte changed, nothing is read that is not there.</summary>
    [Test]
    public void Damaged_frames_are_taken_apart_within_their_bounds() => Prop.ForAll(HeaderStack.Any, Gen.Choose(0, int.MaxValue).ToArbitrary(), (stack, seed) =>
    {
        Random random = new(seed);
        byte[] frame = stack.Frame();
        for (int changes = random.Next(4); changes > 0; changes--)
            frame[random.Next(12, frame.Length)] = (byte)random.Next(256);
        ReadOnlySpan<byte> bytes = frame.AsSpan(0, random.Next(14, frame.Length + 1));
        FrameHeaders headers = FrameHeaders.Read(bytes);
        return headers.Transport <= bytes.Length && headers.Network <= bytes.Length && headers.Payload(bytes).Length <= bytes.Length && (!headers.HasAddresses || headers.Source(bytes) >= 0);
    }).Check(Many);

    [Test]
    public void A_checksum_is_filled_in_behind_tags_and_extension_headers() => Prop.ForAll(HeaderStack.Shallow, Gen.Choose(0, int.MaxValue).ToArbitrary(), (stack, seed) =>
    {
        if (stack.Protocol is not (6 or 17))
            return true;
        byte[] upper = new byte[30];
        new Random(seed).NextBytes(upper);
        upper[12] = 0;
        HeaderStack filled = stack with { Upper = upper };
        byte[] frame = filled.Frame();
        int start = frame.Length - upper.Length;
        FrameOffload blank = new(FrameChecksum.Blank);
        byte[] header = new byte[VirtioHeader.Bytes];
        bool isTold = VirtioHeader.TryWrite(header, frame, blank) && BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(6)) == start;
        Keeper keeper = new();
        bool isFilled = new FrameFinisher().Finish(new NetworkFrame(frame, blank), default, keeper);
        ReadOnlySpan<byte> addresses = stack.IsV6 ? filled.Plain.Frame().AsSpan(22, 32) : filled.Plain.Frame().AsSpan(26, 8);
        return isTold && isFilled && InternetChecksum.Fold(InternetChecksum.Sum(keeper.Got.AsSpan(start), InternetChecksum.Sum(addresses, (ulong)(stack.Protocol + upper.Length)))) == 0;
    }).Check(Many);

    [TestCase(true)]
    [TestCase(false)]
    public void A_piece_of_a_packet_has_no_checksum_to_fill_in(bool isV6)
    {
        byte[] piece = new HeaderStack(isV6, 6, 1000, 80, [], []).Fragments(3).First;
        FrameOffload blank = new(FrameChecksum.Blank);
        Assert.That(VirtioHeader.TryWrite(new byte[VirtioHeader.Bytes], piece, blank), Is.False);
        Assert.That(new FrameFinisher().Finish(new NetworkFrame(piece, blank), default, new Keeper()), Is.False);
    }

    private static bool Passes(string rules, byte[] frame)
    {
        using Sink sink = new();
        using Filter filter = new(new FilterOptions { Rules = rules }, sink);
        _ = filter.Open(new NetworkPort("d", HeaderStack.From, new Keeper()));
        filter.Send(new NetworkFrame(frame));
        return sink.Count == 1;
    }

    private sealed class Sink : INetworkBackend
    {
        public int Count { get; private set; }

        public NetworkCapabilities Open(NetworkPort port) => NetworkCapabilities.All;

        public void Send(in NetworkFrame frame) => Count++;

        public void Dispose()
        {
        }
    }

    private sealed class Keeper : INetworkReceiver
    {
        public byte[] Got { get; private set; } = [];

        public bool Receive(in NetworkFrame frame)
        {
            Got = new byte[frame.Length];
            _ = frame.CopyTo(Got);
            return true;
        }
    }
}
