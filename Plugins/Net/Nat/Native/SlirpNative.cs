using System.Runtime.InteropServices;

namespace Tessera.Plugins.Net.Nat.Native;

/// <summary>A slirp. Released by the thread that is in it.</summary>
internal sealed class SlirpHandle() : SafeHandle(0, ownsHandle: true)
{
    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        SlirpNative.Cleanup(handle);
        return true;
    }
}

/// <summary>libslirp (libslirp.h; Debian's libslirp0). An in_addr is passed as the number that it holds.</summary>
internal static unsafe partial class SlirpNative
{
    public const int SlirpIn = 1;
    public const int SlirpOut = 2;
    public const int SlirpPriority = 4;
    public const int SlirpError = 8;
    public const int SlirpHangUp = 16;

    private const string Library = "libslirp.so.0";

    [LibraryImport(Library, EntryPoint = "slirp_version_string")]
    public static partial nint Version();

    // SAFETY: the configuration is read within the call; callbacks and the opaque value live until slirp_cleanup has returned.
    [LibraryImport(Library, EntryPoint = "slirp_new")]
    public static partial SlirpHandle New(SlirpConfig* configuration, SlirpCallbacks* callbacks, nint opaque);

    [LibraryImport(Library, EntryPoint = "slirp_cleanup")]
    public static partial void Cleanup(nint slirp);

    [LibraryImport(Library, EntryPoint = "slirp_pollfds_fill")]
    public static partial void Fill(SlirpHandle slirp, uint* timeoutMs, delegate* unmanaged<int, int, nint, int> add, nint opaque);

    [LibraryImport(Library, EntryPoint = "slirp_pollfds_poll")]
    public static partial void Polled(SlirpHandle slirp, int failed, delegate* unmanaged<int, nint, int> events, nint opaque);

    [LibraryImport(Library, EntryPoint = "slirp_input")]
    public static partial void Input(SlirpHandle slirp, byte* frame, int length);

    [LibraryImport(Library, EntryPoint = "slirp_add_hostfwd", SetLastError = true)]
    public static partial int AddForward(SlirpHandle slirp, int isUdp, uint hostAddress, int hostPort, uint guestAddress, int guestPort);

    [LibraryImport(Library, EntryPoint = "slirp_remove_hostfwd", SetLastError = true)]
    public static partial int RemoveForward(SlirpHandle slirp, int isUdp, uint hostAddress, int hostPort);
}
