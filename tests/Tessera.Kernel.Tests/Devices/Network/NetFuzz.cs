using System.Globalization;
using Tessera.Kernel.Devices.Network;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests.Devices.Network;

/// <summary>
/// A hostile network frontend: random and half-right frames, chains without end, extras over extras, forged grants and indices, memory that changes while
/// it is read, rings that are their own data, pages to receive into that are revoked meanwhile. Its neighbour on the wire gets what it sends, takes it in
/// its stride and keeps its service, its memory and its secrets; nothing stays behind. TESSERA_FUZZ_REQUESTS says how many slots, TESSERA_FUZZ_SEED from
/// which seed.
/// </summary>
internal sealed class NetFuzz
{
    private const uint NobodysGrant = 480;
    public const int NobodysPage = 490;

    private static long Requests => long.Parse(Environment.GetEnvironmentVariable("TESSERA_FUZZ_REQUESTS") ?? "200000", CultureInfo.InvariantCulture);

    private static int Seed => int.Parse(Environment.GetEnvironmentVariable("TESSERA_FUZZ_SEED") ?? "20261122", CultureInfo.InvariantCulture);

    [TestCase("sg gso-tcpv4 gso-tcpv6 ipv6-csum-offload", false, TestName = "A_hostile_frontend_hurts_only_itself_beside_one_that_takes_everything")]
    [TestCase("", true, TestName = "A_hostile_frontend_hurts_only_itself_beside_one_whose_frames_are_cut_in_software")]
    public void A_hostile_frontend_hurts_only_itself(string neighbourTakes, bool antiSpoofing)
    {
        TestContext.Out.WriteLine($"seed {Seed}, {Requests} slots");
        using HandMachine machine = new();
        byte[] secret = new byte[4096];
        new Random(3).NextBytes(secret);
        using FuzzedWire wire = new(secret.AsSpan(100, 16), antiSpoofing ? new MacAddress(0x0016_3E00_0001) : null);
        using FuzzedWire far = new([], null);
        (wire.Other, far.Other) = (far, wire);
        HandNetFrontend hostile = new(machine, machine.Create(), wire, antiSpoofing: antiSpoofing);
        HandNetFrontend neighbour = new(machine, machine.Create(), far, neighbourTakes);
        // A page of the hostile domain that is granted to somebody else, and one of the neighbour's that is granted to nobody.
        hostile.Guest.Grant(NobodysGrant, 5, NobodysPage);
        secret.CopyTo(hostile.Guest.Page(NobodysPage));
        secret.CopyTo(neighbour.Guest.Page(NobodysPage));
        Random random = new(Seed);
        NetAttack attack = new(hostile, wire, random);
        NetNeighbour victim = new(neighbour, far);
        long tests = 0;
        for (long sent = 0; sent < Requests; sent += attack.Batch())
        {
            victim.Drain();
            if (random.Next(16) != 0)
                continue;
            victim.IsServed(++tests);
            Assert.That(wire.Wrong, Is.Null);
        }

        NetworkReading reading = hostile.Nic.Read();
        NetworkReading other = neighbour.Nic.Read();
        TestContext.Out.WriteLine(
            $"{reading.SentFrames} frames sent, {reading.ReceivedFrames} received, {reading.Dropped} dropped, {reading.Refused} refused, {reading.BrokenRings} rings broken, {attack.Reconnects} times connected anew; the neighbour got {other.ReceivedFrames} frames and was looked after {tests} times");
        using (Assert.EnterMultipleScope())
        {
            Assert.That(hostile.Guest.Page(NobodysPage).SequenceEqual(secret), Is.True, "a page that was not granted was written");
            Assert.That(neighbour.Guest.Page(NobodysPage).SequenceEqual(secret), Is.True, "another domain's page was written");
            Assert.That((other.BrokenRings, other.Refused), Is.EqualTo((0L, 0L)), "the neighbour's rings");
            Assert.That(reading.SentFrames, Is.Positive);
            Assert.That(reading.ReceivedFrames, Is.Positive);
            Assert.That(reading.Refused, Is.Positive);
            Assert.That(other.ReceivedFrames, Is.Positive);
        }

        machine.Machine.Destroy(hostile.Guest.Domain);
        machine.Machine.Destroy(neighbour.Guest.Domain);
        Assert.That(machine.Machine.Frames.AssignedFrames, Is.Zero, "frames stay behind");
    }
}

/// <summary>One end of a wire between two interfaces: looks at all that comes, and sends some of it back to where it came from too.</summary>
/// <param name="secret">What must never be in a frame; nothing to look for when it is empty.</param>
/// <param name="source">From whom all frames must come; null for anybody.</param>
internal sealed class FuzzedWire(ReadOnlySpan<byte> secret, MacAddress? source) : INetworkBackend
{
    private readonly byte[] _secret = secret.ToArray();
    private readonly byte[] _frame = new byte[NetworkFrame.MostBytes];
    private INetworkReceiver? _receiver;
    private int _count;

    public FuzzedWire? Other { get; set; }

    /// <summary>The first thing that was not as it must be.</summary>
    public string? Wrong { get; private set; }

    public NetworkCapabilities Open(NetworkPort port)
    {
        _receiver = port.Receiver;
        return NetworkCapabilities.All;
    }

    public void Send(in NetworkFrame frame)
    {
        int length = frame.CopyTo(_frame);
        int pieces = frame.Header.Length;
        foreach (ReadOnlyMemory<byte> piece in frame.Rest)
            pieces += piece.Length;
        if (length != frame.Length || pieces != length || length < NetworkFrame.LeastBytes || frame.Header.Length < Math.Min(length, NetworkFrame.HeaderBytes))
            Wrong ??= $"a frame of {frame.Length} bytes has {pieces}, {frame.Header.Length} of them in its header";
        if (frame.Offload.Segmentation != FrameSegmentation.None && (frame.Offload.SegmentBytes <= 0 || frame.Offload.Checksum != FrameChecksum.Blank))
            Wrong ??= $"a frame to be cut says {frame.Offload}";
        if (source is { } only && frame.Source != only)
            Wrong ??= $"a frame comes from {frame.Source}";
        if (_secret.Length > 0 && _frame.AsSpan(0, length).IndexOf(_secret) >= 0)
            Wrong ??= "a frame has what was not granted";
        _ = Other!._receiver!.Receive(frame);
        if (_count++ % 4 == 0)
            _ = _receiver!.Receive(frame);
    }

    /// <summary>Delivers a frame that comes from elsewhere.</summary>
    public bool Deliver(ReadOnlySpan<byte> frame, FrameOffload offload = default) => _receiver!.Receive(new NetworkFrame(frame, offload));

    public void Dispose()
    {
    }
}

/// <summary>The neighbour: takes all that comes, and looks whether it is still served.</summary>
internal sealed class NetNeighbour
{
    private readonly HandNetFrontend _frontend;
    private readonly FuzzedWire _wire;
    private readonly byte[] _frame = new byte[1500];
    private uint _next;
    private int _taken;

    public NetNeighbour(HandNetFrontend frontend, FuzzedWire wire)
    {
        (_frontend, _wire) = (frontend, wire);
        Post();
    }

    /// <summary>Takes what has come, until nothing waits for it any more.</summary>
    public void Drain()
    {
        while (_frontend.TryTakeReceived(out NetRxResponse response))
        {
            Took(response);
            if (_frontend.Posted < HandNetFrontend.DataPages / 2)
                Post();
        }

        Post();
    }

    /// <summary>A frame of its own goes out, and one for it comes in unchanged.</summary>
    public void IsServed(long number)
    {
        Assert.That(_frontend.Run(HandNetFrontend.Piece(63, 60)), Is.EqualTo(new[] { NetStatus.Okay }), "the neighbour's frame goes");
        new Random((int)number).NextBytes(_frame);
        // What the hostile one sent before may still fill its backlog.
        Assert.That(SpinWait.SpinUntil(Delivered, Hang.Limit), Is.True, "the neighbour has room");
        Assert.That(SpinWait.SpinUntil(Arrived, Hang.Limit), Is.True, "the neighbour's frame comes");

        bool Delivered()
        {
            Drain();
            return _wire.Deliver(_frame);
        }

        bool Arrived()
        {
            while (_frontend.TryTakeReceived(out NetRxResponse response))
            {
                int page = Took(response);
                if (_frontend.Posted < HandNetFrontend.DataPages / 2)
                    Post();
                if (response.Status == _frame.Length && _frontend.Data(page)[..response.Status].SequenceEqual(_frame))
                    return true;
            }

            Post();
            return false;
        }
    }

    /// <summary>Checks an answer; where its bytes are.</summary>
    private int Took(in NetRxResponse response)
    {
        int slot = _taken++;
        bool isExtra = response.Id != slot % HandNetFrontend.Slots;
        // An extra slot has no id of its own; all others come in order, and into pages that were granted.
        if (!isExtra && response.Status is < 0 or > 4096)
            Assert.Fail($"slot {slot}: {response.Status} bytes");
        return slot % (HandNetFrontend.DataPages - 1);
    }

    private void Post()
    {
        Span<uint> grants = stackalloc uint[HandNetFrontend.DataPages];
        int count = HandNetFrontend.DataPages - 1 - _frontend.Posted;
        for (int index = 0; index < count; index++)
            grants[index] = HandNetFrontend.FirstDataGrant + (_next++ % (HandNetFrontend.DataPages - 1));
        if (count > 0)
            _frontend.Post(grants[..count]);
    }
}
