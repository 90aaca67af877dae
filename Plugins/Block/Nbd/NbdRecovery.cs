using System.Diagnostics;
using Tessera.Plugins.Block.Nbd.Native;
using Tessera.Sdk.Devices;
using Tmds.Linux;

namespace Tessera.Plugins.Block.Nbd;

/// <summary>Calls a server that went away, again and again for a bounded time, until it is back with the same disk and has everything it had acknowledged.</summary>
/// <param name="dialer">Makes connections.</param>
/// <param name="geometry">What the disk must be like.</param>
/// <param name="patience">How long the server may be away.</param>
/// <param name="wake">A descriptor that becomes readable when somebody wants something.</param>
/// <param name="isStopping">Whether nobody wants anything any more.</param>
internal sealed unsafe class NbdRecovery(NbdDialer dialer, BlockGeometry geometry, TimeSpan patience, int wake, Func<bool> isStopping)
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    private volatile string? _problem;

    /// <summary>Why there is no connection; null when there is one.</summary>
    public string? Problem => _problem;

    /// <summary>A connection to the server that came back; null when it did not in time.</summary>
    /// <param name="unstable">What it must be told once more.</param>
    /// <param name="limits">What its commands may ask for.</param>
    public NbdHandle? Connect(UnstableWrites unstable, out NbdLimits limits)
    {
        limits = default;
        _problem = "nbd: the server closed the connection.";
        Stopwatch watch = Stopwatch.StartNew();
        TimeSpan pause = FirstPause;
        while (!isStopping() && watch.Elapsed < patience)
        {
            NbdHandle? handle = null;
            try
            {
                handle = dialer.Connect(patience - watch.Elapsed, isStopping);
                if (dialer.Describe(handle) != geometry)
                {
                    _problem = "nbd: the server came back with another disk: its size or its abilities differ. The disk's requests end with errors from now on.";
                    handle.Dispose();
                    return null;
                }

                limits = dialer.Limits(handle, geometry);
                if (unstable.Replay(handle, limits))
                {
                    _problem = null;
                    return handle;
                }

                _problem = $"nbd: what the server had acknowledged could not be written again: {LibnbdNative.LastError()}.";
                handle.Dispose();
            }
            catch (BackendException exception)
            {
                handle?.Dispose();
                _problem = exception.Message;
            }

            Pause(pause);
            pause = pause * 2 < LongestPause ? pause * 2 : LongestPause;
        }

        _problem += $" It was called again for {watch.Elapsed.TotalSeconds:0.#} s; the disk's requests end with errors from now on.";
        return null;
    }

    private void Pause(TimeSpan length)
    {
        Stopwatch watch = Stopwatch.StartNew();
        while (!isStopping() && watch.Elapsed < length)
        {
            pollfd descriptor = new() { fd = wake, events = LibC.POLLIN };
            ulong count;
            // SAFETY: a descriptor and a counter on this stack. The queue is looked at when the connection is there again, so a wake is not missed.
            if (LibC.poll(&descriptor, 1, (int)Math.Ceiling((length - watch.Elapsed).TotalMilliseconds)) > 0)
                _ = LibC.read(wake, &count, sizeof(ulong));
        }
    }
}
