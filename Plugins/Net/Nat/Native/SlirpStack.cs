using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Tessera.Sdk.Devices;
using Tmds.Linux;

namespace Tessera.Plugins.Net.Nat.Native;

/// <summary>Who a slirp's frames are for.</summary>
internal interface ISlirpOwner
{
    /// <summary>Takes a frame from slirp, on the thread that is in it; the frame lives until this returns.</summary>
    void Deliver(ReadOnlySpan<byte> frame);
}

/// <summary>One slirp and what it waits for. All but <see cref="Wake"/> on one thread, once it is made.</summary>
internal sealed unsafe class SlirpStack : IDisposable
{
    /// <summary>The newest SlirpConfig that 4.7 takes, and the first release that takes it whole.</summary>
    private const uint ConfigurationVersion = 4;
    private static readonly Version LeastVersion = new(4, 7);

    private readonly ISlirpOwner _owner;
    private readonly SlirpCallbacks* _callbacks;
    private readonly HashSet<int> _sockets = [];
    private readonly int _wake;
    private GCHandle _self;
    private readonly SlirpHandle _slirp;
    private pollfd[] _polled = new pollfd[16];
    private int _polledCount;

    /// <summary>Makes a slirp.</summary>
    /// <exception cref="BackendException">The library is missing or too old.</exception>
    public SlirpStack(NatPlan plan, ISlirpOwner owner)
    {
        _owner = owner;
        CheckVersion();
        _wake = LibC.eventfd(0, LibC.EFD_NONBLOCK | LibC.EFD_CLOEXEC);
        if (_wake < 0)
            throw new BackendException("nat: the host has no eventfd left.", "Raise the limit of open files (ulimit -n).");
        _self = GCHandle.Alloc(this);
        _callbacks = (SlirpCallbacks*)NativeMemory.AllocZeroed((nuint)sizeof(SlirpCallbacks));
        // SAFETY: memory of this object's that is freed after slirp's end; the functions are static, and find this object by the handle.
        *_callbacks = new SlirpCallbacks
        {
            SendPacket = &OnPacket,
            GuestError = &OnGuestError,
            Clock = &OnClock,
            RegisterDescriptor = &OnSocket,
            UnregisterDescriptor = &OnSocketGone,
            Notify = &OnNotify,
        };
        nint hostname = Marshal.StringToCoTaskMemUTF8(plan.Hostname.Length == 0 ? null : plan.Hostname);
        nint domain = Marshal.StringToCoTaskMemUTF8(plan.DomainName.Length == 0 ? null : plan.DomainName);
        SlirpConfig configuration = new()
        {
            Version = ConfigurationVersion,
            Restricted = plan.Restricted ? 1 : 0,
            V4Enabled = 1,
            Network = OnWire(plan.Network),
            Mask = OnWire(plan.Mask),
            Host = OnWire(plan.Host),
            Hostname = hostname,
            DhcpStart = OnWire(plan.DhcpStart),
            NameServer = OnWire(plan.Dns),
            DomainName = domain,
            DisableHostLoopback = plan.HostLoopback ? (byte)0 : (byte)1,
        };
        _slirp = SlirpNative.New(&configuration, _callbacks, GCHandle.ToIntPtr(_self));
        Marshal.FreeCoTaskMem(hostname);
        Marshal.FreeCoTaskMem(domain);
        if (_slirp.IsInvalid)
        {
            Dispose();
            throw new BackendException("nat: libslirp refuses its configuration.", "Report this with the version of libslirp0.");
        }
    }

    /// <summary>Sockets of guests' connections that are open.</summary>
    public int Connections => _sockets.Count;

    /// <summary>Ends the wait under way, or else the next one. Any thread, before <see cref="Dispose"/>.</summary>
    public void Wake()
    {
        ulong one = 1;
        // SAFETY: eight bytes of a local; a full counter (EAGAIN) wakes just as well.
        _ = LibC.write(_wake, &one, sizeof(ulong));
    }

    /// <summary>Serves the sockets that have something.</summary>
    /// <param name="wait">Whether to wait for one, for slirp's timers, or for <see cref="Wake"/>.</param>
    public void Poll(bool wait)
    {
        uint timeout = wait ? uint.MaxValue : 0;
        nint self = GCHandle.ToIntPtr(_self);
        _polled[0] = new pollfd { fd = _wake, events = LibC.POLLIN };
        _polledCount = 1;
        // SAFETY: the handle names this object, which outlives the calls; the descriptors are pinned while poll(2) has them.
        SlirpNative.Fill(_slirp, &timeout, &OnPoll, self);
        int ready;
        fixed (pollfd* descriptors = _polled)
            ready = LibC.poll(descriptors, (uint)_polledCount, timeout > int.MaxValue ? -1 : (int)timeout);
        if (ready > 0 && (_polled[0].revents & LibC.POLLIN) != 0)
        {
            ulong count;
            _ = LibC.read(_wake, &count, sizeof(ulong));
        }

        SlirpNative.Polled(_slirp, ready < 0 ? 1 : 0, &OnEvents, self);
    }

    /// <summary>Gives slirp a guest's frame, which has been looked at.</summary>
    public void Input(ReadOnlySpan<byte> frame)
    {
        // SAFETY: slirp copies the frame within the call.
        fixed (byte* bytes = frame)
            SlirpNative.Input(_slirp, bytes, frame.Length);
    }

    /// <summary>Listens on a port of the host.</summary>
    /// <exception cref="BackendException">It is taken, or not ours to have.</exception>
    public void AddForward(in Forward forward)
    {
        if (SlirpNative.AddForward(_slirp, forward.IsUdp ? 1 : 0, OnWire(forward.HostAddress), forward.HostPort, OnWire(forward.GuestAddress), forward.GuestPort) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            throw new BackendException($"nat: the forward \"{forward}\" cannot be set up: {Marshal.GetPInvokeErrorMessage(error)}.", "Choose another port or address of the host, or free this one.");
        }
    }

    /// <summary>Listens no longer.</summary>
    public void RemoveForward(Forward forward) => _ = SlirpNative.RemoveForward(_slirp, forward.IsUdp ? 1 : 0, OnWire(forward.HostAddress), forward.HostPort);

    /// <summary>Ends slirp and all its sockets.</summary>
    public void Dispose()
    {
        // SAFETY: its owner's thread has ended, so nobody is in slirp any more, which ends before what it calls back.
        _slirp.Dispose();
        NativeMemory.Free(_callbacks);
        _self.Free();
        _ = LibC.close(_wake);
    }

    private static void CheckVersion()
    {
        string version;
        try
        {
            version = Marshal.PtrToStringUTF8(SlirpNative.Version()) ?? "";
        }
        catch (DllNotFoundException)
        {
            throw new BackendException("nat: the library libslirp.so.0 is not installed.", "apt-get install libslirp0, or your distribution's package of libslirp.");
        }

        // "4.7.0", or with something of the builder's behind it.
        string number = string.Concat(version.TakeWhile(letter => char.IsAsciiDigit(letter) || letter == '.'));
        if (!Version.TryParse(number, out Version? found) || found < LeastVersion)
            throw new BackendException($"nat: libslirp is {version}.", $"Install {LeastVersion} or newer.");
    }

    private static uint OnWire(uint address) => BinaryPrimitives.ReverseEndianness(address);

    // SAFETY: the opaque value is the handle that the constructor made, which is freed after slirp's end.
    private static SlirpStack Self(nint opaque) => Unsafe.As<SlirpStack>(GCHandle.FromIntPtr(opaque).Target!);

    [UnmanagedCallersOnly]
    private static nint OnPacket(byte* bytes, nuint length, nint opaque)
    {
        try
        {
            // SAFETY: slirp's frame, as long as it says, until this returns.
            Self(opaque)._owner.Deliver(new ReadOnlySpan<byte>(bytes, (int)length));
        }
        catch (Exception)
        {
            // An exception must not go through slirp's frames; as on a wire, the frame is lost and nobody is told.
            return -1;
        }

        return (nint)length;
    }

    [UnmanagedCallersOnly]
    private static void OnGuestError(byte* message, nint opaque)
    {
        // What a guest sends wrongly is dropped by slirp, and is the guest's business.
    }

    [UnmanagedCallersOnly]
    private static long OnClock(nint opaque) => (long)((Int128)Stopwatch.GetTimestamp() * 1_000_000_000 / Stopwatch.Frequency);

    [UnmanagedCallersOnly]
    private static void OnSocket(int descriptor, nint opaque) => _ = Self(opaque)._sockets.Add(descriptor);

    [UnmanagedCallersOnly]
    private static void OnSocketGone(int descriptor, nint opaque) => _ = Self(opaque)._sockets.Remove(descriptor);

    [UnmanagedCallersOnly]
    private static void OnNotify(nint opaque)
    {
        // Slirp is called by its poller's own thread only, which asks it anew before it waits.
    }

    [UnmanagedCallersOnly]
    private static int OnPoll(int descriptor, int events, nint opaque)
    {
        SlirpStack self = Self(opaque);
        if (self._polledCount == self._polled.Length)
            Array.Resize(ref self._polled, self._polled.Length * 2);
        int wanted = ((events & SlirpNative.SlirpIn) != 0 ? LibC.POLLIN : 0)
            | ((events & SlirpNative.SlirpOut) != 0 ? LibC.POLLOUT : 0)
            | ((events & SlirpNative.SlirpPriority) != 0 ? LibC.POLLPRI : 0);
        self._polled[self._polledCount] = new pollfd { fd = descriptor, events = (short)wanted };
        return self._polledCount++;
    }

    [UnmanagedCallersOnly]
    private static int OnEvents(int index, nint opaque)
    {
        int returned = Self(opaque)._polled[index].revents;
        return ((returned & LibC.POLLIN) != 0 ? SlirpNative.SlirpIn : 0)
            | ((returned & LibC.POLLOUT) != 0 ? SlirpNative.SlirpOut : 0)
            | ((returned & LibC.POLLPRI) != 0 ? SlirpNative.SlirpPriority : 0)
            | ((returned & LibC.POLLERR) != 0 ? SlirpNative.SlirpError : 0)
            | ((returned & LibC.POLLHUP) != 0 ? SlirpNative.SlirpHangUp : 0);
    }
}
