using System.Collections;
using Tessera.Sdk.Devices;

namespace Tessera.Sdk.Conformance.Network;

/// <summary>The conformance suite of network backends: what every backend that hands frames on inside the machine must hold to.</summary>
/// <param name="backend">The backend's name in the report.</param>
/// <param name="newPair">Makes two backends, not opened, between which frames go.</param>
/// <param name="isPrompt">Whether everything that is sent arrives at once; false for a backend that loses or delays.</param>
public sealed class NetworkSuite(string backend, Func<(INetworkBackend One, INetworkBackend Two)> newPair, bool isPrompt = true)
    : MethodSuite(backend, new ConformanceOptions().HangLimit)
{
    /// <summary>An Ethernet type for experiments (IEEE 802, local experimental): nothing else on a wire has it.</summary>
    private const int ExperimentType = 0x88B5;

    private static readonly MacAddress First = new(0x0016_3E00_0001);
    private static readonly MacAddress Second = new(0x0016_3E00_0002);

    /// <summary>The checks of every network backend, in the order of a report card.</summary>
    public static IReadOnlyList<CheckInfo> AllChecks { get; } =
        [.. CheckMethod.Of(typeof(NetworkSuite)).Select(static method => method.Info)];

    [Check("What arrives is what was sent, with what it needs, in order, however it lies in memory.")]
    private void Frames_of_every_length_and_shape_arrive_unchanged_and_in_order() => With((one, _, two) =>
    {
        Random random = new(1);
        List<byte[]> sent = [];
        foreach (int length in (int[])[14, 15, 60, 191, 192, 193, 1514, 4096, 9000, 65535])
        {
            byte[] frame = Frame(random, length);
            sent.Add(frame);
            int header = Math.Min(length, NetworkFrame.HeaderBytes);
            int middle = header + ((length - header) / 3);
            ReadOnlyMemory<byte>[] rest = [frame.AsMemory(header, middle - header), frame.AsMemory(middle)];
            one.Send(new NetworkFrame(frame.AsSpan(0, header), rest, length, new FrameOffload(FrameChecksum.Verified)));
        }

        Arrived(two.Frames, sent);
    });

    [Check("A blank checksum stays blank, and a frame to be cut stays one, where the backend said that it takes them.")]
    private void What_a_frame_needs_is_carried_through() => With((one, takes, two) =>
    {
        FrameOffload offload = new(takes.Checksum ? FrameChecksum.Blank : FrameChecksum.Verified, takes.Segmentation ? FrameSegmentation.TcpV4 : FrameSegmentation.None, takes.Segmentation ? 1448 : 0);
        byte[] frame = Frame(new Random(2), 8000);
        one.Send(new NetworkFrame(frame, offload));
        Arrived(two.Offloads, [offload]);
    });

    [Check("A frame's memory is its sender's again when Send returns.")]
    private void Memory_that_is_used_again_changes_nothing_that_was_sent() => With((one, _, two) =>
    {
        byte[] frame = Frame(new Random(3), 1000);
        byte[] copy = [.. frame];
        one.Send(new NetworkFrame(frame));
        frame.AsSpan().Fill(0xEE);
        Arrived(two.Frames, [copy]);
    });

    [Check("Once warm a frame costs no allocation.")]
    private void Sending_allocates_nothing()
    {
        (INetworkBackend one, INetworkBackend two) = newPair();
        using (one)
        using (two)
        {
            Deaf deaf = new();
            _ = one.Open(new NetworkPort("one", First, deaf));
            _ = two.Open(new NetworkPort("two", Second, deaf));
            byte[] frame = Frame(new Random(4), 1514);
            for (int count = 0; count < 1000; count++)
                one.Send(new NetworkFrame(frame));
            Expect.AllocatesNothing(
                () =>
                {
                    for (int count = 0; count < 1000; count++)
                        one.Send(new NetworkFrame(frame));
                },
                "by 1000 frames");
        }
    }

    [Check("Nothing arrives at an interface that has left.")]
    private void Nothing_is_delivered_after_the_end()
    {
        (INetworkBackend one, INetworkBackend two) = newPair();
        Listener left = new();
        using (one)
        {
            _ = one.Open(new NetworkPort("one", First, new Listener()));
            using (two)
                _ = two.Open(new NetworkPort("two", Second, left));
            one.Send(new NetworkFrame(Frame(new Random(5), 100)));
            Expect.Equal(left.Frames.Count, 0);
        }
    }

    /// <summary>All of it, in order; or where the backend may lose or delay, nothing else.</summary>
    private void Arrived<T>(IReadOnlyList<T> arrived, IReadOnlyList<T> sent)
    {
        if (isPrompt)
            Expect.EqualItems(arrived, sent);
        foreach (T one in arrived)
            Expect.True(sent.Any(other => StructuralComparisons.StructuralEqualityComparer.Equals(one, other)), "something arrived that nobody sent");
    }

    private static byte[] Frame(Random random, int length)
    {
        byte[] frame = new byte[length];
        random.NextBytes(frame);
        Second.Write(frame);
        First.Write(frame.AsSpan(6));
        (frame[12], frame[13]) = (ExperimentType >> 8, ExperimentType & 0xff);
        return frame;
    }

    private void With(Action<INetworkBackend, NetworkCapabilities, Listener> test)
    {
        (INetworkBackend one, INetworkBackend two) = newPair();
        using (one)
        using (two)
        {
            Listener listener = new();
            NetworkCapabilities takes = one.Open(new NetworkPort("one", First, new Listener()));
            _ = two.Open(new NetworkPort("two", Second, listener));
            test(one, takes, listener);
        }
    }

    /// <summary>
    /// What arrived. A backend that is not prompt delivers from a thread of its own, while a test looks, and may have frames of its
    /// host's.
    /// </summary>
    private sealed class Listener : INetworkReceiver
    {
        private readonly Lock _gate = new();
        private readonly List<byte[]> _frames = [];
        private readonly List<FrameOffload> _offloads = [];

        public IReadOnlyList<byte[]> Frames
        {
            get
            {
                lock (_gate)
                    return [.. _frames];
            }
        }

        public IReadOnlyList<FrameOffload> Offloads
        {
            get
            {
                lock (_gate)
                    return [.. _offloads];
            }
        }

        public bool Receive(in NetworkFrame frame)
        {
            byte[] bytes = new byte[frame.Length];
            _ = frame.CopyTo(bytes);
            if (bytes.Length < 14 || bytes[12] != ExperimentType >> 8 || bytes[13] != (ExperimentType & 0xff))
                return true;
            lock (_gate)
            {
                _frames.Add(bytes);
                _offloads.Add(frame.Offload);
            }

            return true;
        }
    }

    private sealed class Deaf : INetworkReceiver
    {
        public bool Receive(in NetworkFrame frame) => false;
    }
}
