using Tessera.Plugins.Net.Tap.Native;
using Tessera.Sdk.Devices;
using Tessera.Sdk.Plugins;

namespace Tessera.Plugins.Net.Tap;

/// <summary>The thread that brings a device's frames to their interface.</summary>
internal sealed class TapReader : IDisposable
{
    private readonly TapDevice _device;
    private readonly INetworkReceiver _receiver;
    private readonly IThreadDuties? _duties;
    private readonly Thread _thread;
    private volatile bool _isGone;
    // One byte more than the longest, so that a longer one shows.
    private readonly byte[] _frame = new byte[VirtioHeader.Bytes + NetworkFrame.MostBytes + 1];

    public TapReader(TapDevice device, INetworkReceiver receiver, IThreadDuties? duties)
    {
        (_device, _receiver, _duties) = (device, receiver, duties);
        _thread = new Thread(Work) { IsBackground = true, Name = "tessera-tap" };
        _thread.Start();
    }

    /// <summary>Whether the device has been taken away.</summary>
    public bool IsGone => _isGone;

    /// <summary>Brings nothing more once this returns.</summary>
    public void Dispose()
    {
        _device.EndWaits();
        _thread.Join();
    }

    private void Work()
    {
        _duties?.Enter(ThreadDuty.Device);
        while (_device.Wait())
        {
            int read = -1;
            while (!_device.IsEnding && (read = _device.Read(_frame)) > 0)
            {
                int length = read - VirtioHeader.Bytes;
                if (length is >= NetworkFrame.LeastBytes and <= NetworkFrame.MostBytes && VirtioHeader.TryRead(_frame, out FrameOffload offload))
                    _ = _receiver.Receive(new NetworkFrame(_frame.AsSpan(VirtioHeader.Bytes, length), offload));
            }

            // What can be read and gives nothing has come to its end.
            if (read == 0)
                break;
        }

        _isGone = !_device.IsEnding;
    }
}
