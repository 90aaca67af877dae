using System.Runtime.InteropServices;
using System.Text;
using Tessera.Sdk.Devices;
using Tmds.Linux;

namespace Tessera.Plugins.Net.Tap.Native;

/// <summary>An open tap device: frames behind their virtio headers, one a call.</summary>
internal sealed unsafe class TapDevice : IDisposable
{
    private const string Path = "/dev/net/tun";

    private readonly int _file;
    private readonly int _end;
    private volatile bool _ending;

    /// <summary>Takes over a descriptor that does not block, with whole frames behind their headers.</summary>
    public TapDevice(int file, string name)
    {
        (_file, Name) = (file, name);
        _end = LibC.eventfd(0, LibC.EFD_NONBLOCK | LibC.EFD_CLOEXEC);
        if (_end < 0)
        {
            _ = LibC.close(file);
            throw new BackendException("tap: the host has no eventfd left.", "Raise the limit of open files (ulimit -n).");
        }
    }

    /// <summary>The device's name.</summary>
    public string Name { get; }

    /// <summary>Whether waits end.</summary>
    public bool IsEnding => _ending;

    /// <summary>Whether the host has a device of this name that is down; false when it does not say.</summary>
    public bool IsDown
    {
        get
        {
            int socket = LibC.socket(LibC.AF_INET, LibC.SOCK_DGRAM | LibC.SOCK_CLOEXEC, 0);
            if (socket < 0)
                return false;
            InterfaceRequest request = Named(Name);
            // SAFETY: a local struct ifreq.
            bool isKnown = LibC.ioctl(socket, TapNative.GetFlags, &request) == 0;
            _ = LibC.close(socket);
            return isKnown && (request.Flags & TapNative.IsUp) == 0;
        }
    }

    /// <summary>Opens a device, or makes it.</summary>
    /// <param name="name">Its name; with %d the host puts a number there.</param>
    /// <exception cref="BackendException">The host does not allow it; the message says how it would.</exception>
    public static TapDevice Open(string name)
    {
        if (name.Length is 0 or >= InterfaceName.Bytes || name.Any(letter => !char.IsAscii(letter) || char.IsWhiteSpace(letter) || letter is '/' or ':' or '\0'))
            throw new BackendException($"tap: \"{name}\" is not a device name.", "Write 1 to 15 letters, digits, dashes and dots, such as tap0.");
        int file;
        // SAFETY: a constant that ends with a zero.
        fixed (byte* path = "/dev/net/tun\0"u8)
            file = LibC.open(path, LibC.O_RDWR | LibC.O_NONBLOCK | LibC.O_CLOEXEC);
        if (file < 0)
            throw CannotOpen(LibC.errno);
        try
        {
            string made = Configure(file, name);
            BringUp(made);
            return new TapDevice(file, made);
        }
        catch
        {
            _ = LibC.close(file);
            throw;
        }
    }

    /// <summary>Waits for a frame; false when waits end.</summary>
    public bool Wait()
    {
        pollfd* descriptors = stackalloc pollfd[2];
        descriptors[0] = new pollfd { fd = _file, events = LibC.POLLIN };
        descriptors[1] = new pollfd { fd = _end, events = LibC.POLLIN };
        // SAFETY: two descriptors on this stack.
        _ = LibC.poll(descriptors, 2, -1);
        // A device that was taken away answers every wait at once with an error, and has nothing more.
        bool isGone = (descriptors[0].revents & ~LibC.POLLIN) != 0 && (descriptors[0].revents & LibC.POLLIN) == 0;
        return !_ending && !isGone;
    }

    /// <summary>Takes a frame; 0 or less when there is none.</summary>
    public int Read(Span<byte> frame)
    {
        // SAFETY: pinned through the call, with its own length.
        fixed (byte* bytes = frame)
            return (int)LibC.read(_file, bytes, frame.Length);
    }

    /// <summary>Hands a frame to the host; false when it was dropped: no room, a device that is down.</summary>
    public bool Write(ReadOnlySpan<byte> frame)
    {
        // SAFETY: pinned through the call, with its own length.
        fixed (byte* bytes = frame)
            return LibC.write(_file, bytes, frame.Length) == frame.Length;
    }

    /// <summary>Ends <see cref="Wait"/>, now and from now on.</summary>
    public void EndWaits()
    {
        _ending = true;
        ulong one = 1;
        // SAFETY: eight bytes of a local.
        _ = LibC.write(_end, (byte*)&one, sizeof(ulong));
    }

    /// <summary>Closes it; a device that was made for it goes.</summary>
    public void Dispose()
    {
        _ = LibC.close(_file);
        _ = LibC.close(_end);
    }

    private static string Configure(int file, string name)
    {
        InterfaceRequest request = Named(name);
        request.Flags = TapNative.IsTap | TapNative.NoPacketInformation | TapNative.VirtioHeaders;
        // SAFETY: a local struct ifreq, which the kernel fills in with the name that it chose.
        if (LibC.ioctl(file, TapNative.SetInterface, &request) != 0)
            throw CannotAttach(name, LibC.errno);
        string made = NameOf(request);
        if (LibC.ioctl(file, TapNative.SetOffload, TapNative.Offloads) != 0)
            throw new BackendException($"tap: {made} does not carry checksums and segmentation ({Marshal.GetPInvokeErrorMessage(LibC.errno)}).", "A kernel from 2.6.27 on does.");
        return made;
    }

    /// <summary>A device that is down takes nothing: brought up where this process may.</summary>
    private static void BringUp(string name)
    {
        int socket = LibC.socket(LibC.AF_INET, LibC.SOCK_DGRAM | LibC.SOCK_CLOEXEC, 0);
        if (socket < 0)
            return;
        InterfaceRequest request = Named(name);
        // SAFETY: a local struct ifreq.
        bool isKnown = LibC.ioctl(socket, TapNative.GetFlags, &request) == 0;
        bool isUp = (request.Flags & TapNative.IsUp) != 0;
        request.Flags |= TapNative.IsUp;
        bool isBrought = isKnown && (isUp || LibC.ioctl(socket, TapNative.SetFlags, &request) == 0);
        _ = LibC.close(socket);
        if (!isBrought)
            throw new BackendException($"tap: {name} is down, and this user may not bring it up.", $"As root: ip link set {name} up");
    }

    private static InterfaceRequest Named(string name)
    {
        InterfaceRequest request = default;
        _ = Encoding.ASCII.GetBytes(name, request.Name);
        return request;
    }

    private static string NameOf(InterfaceRequest request)
    {
        ReadOnlySpan<byte> name = request.Name;
        int end = name.IndexOf((byte)0);
        return Encoding.ASCII.GetString(end < 0 ? name : name[..end]);
    }

    private static BackendException CannotOpen(int error) => error switch
    {
        TapNative.NoEntry or TapNative.NoDevice or TapNative.NoSuchDevice => new($"tap: {Path} is not there.", "modprobe tun as root; in a container, give it the device (--device /dev/net/tun)."),
        TapNative.Access or TapNative.NotPermitted => new($"tap: {Path} may not be opened by this user.", $"chmod 666 {Path} as root is usual; making devices needs further rights."),
        _ => new($"tap: {Path}: {Marshal.GetPInvokeErrorMessage(error)}.", ""),
    };

    private static BackendException CannotAttach(string name, int error) => error switch
    {
        TapNative.NotPermitted => new(
            $"tap: this user may not use or make the device {name}.",
            $"As root: ip tuntap add dev {(name.Contains('%', StringComparison.Ordinal) ? "tap0" : name)} mode tap user $USER, and name it in the option device; or run with CAP_NET_ADMIN."),
        TapNative.Busy => new($"tap: {name} is in use by another program or interface.", "Give each interface a device of its own."),
        TapNative.Invalid => new($"tap: {name} exists, but is not a tap device with a single queue.", $"Name another, or make one with: ip tuntap add dev tap0 mode tap"),
        _ => new($"tap: {name}: {Marshal.GetPInvokeErrorMessage(error)}.", ""),
    };
}
