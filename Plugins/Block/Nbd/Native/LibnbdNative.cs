using System.Runtime.InteropServices;

namespace Tessera.Plugins.Block.Nbd.Native;

/// <summary>nbd_completion_callback; all zeroes for none.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct CompletionCallback
{
    public nint Callback;
    public nint UserData;
    public nint Free;
}

/// <summary>A connection: struct nbd_handle.</summary>
internal sealed class NbdHandle() : SafeHandle(0, ownsHandle: true)
{
    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        LibnbdNative.Close(handle);
        return true;
    }
}

/// <summary>libnbd (libnbd(3); Debian's libnbd0). Its calls answer -1 and keep the error by thread.</summary>
internal static unsafe partial class LibnbdNative
{
    public const int DirectionRead = 1;
    public const int DirectionWrite = 2;
    public const int SizeMinimum = 0;
    public const int SizePreferred = 1;
    public const int SizeMaximum = 2;

    private const string Library = "libnbd.so.0";

    /// <summary>What the last call of this thread that failed said.</summary>
    public static string LastError() => Marshal.PtrToStringUTF8(GetError()) ?? "no reason given";

    [LibraryImport(Library, EntryPoint = "nbd_create")]
    public static partial NbdHandle Create();

    [LibraryImport(Library, EntryPoint = "nbd_close")]
    public static partial void Close(nint handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_connect_uri", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int BeginConnectUri(NbdHandle handle, string uri);

    [LibraryImport(Library, EntryPoint = "nbd_poll")]
    public static partial int PollHandle(NbdHandle handle, int timeoutMs);

    [LibraryImport(Library, EntryPoint = "nbd_aio_is_connecting")]
    public static partial int IsConnecting(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_is_ready")]
    public static partial int IsReady(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_is_dead")]
    public static partial int IsDead(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_is_closed")]
    public static partial int IsClosed(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_get_size")]
    public static partial long GetSize(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_get_block_size")]
    public static partial long GetBlockSize(NbdHandle handle, int kind);

    [LibraryImport(Library, EntryPoint = "nbd_is_read_only")]
    public static partial int IsReadOnly(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_can_flush")]
    public static partial int CanFlush(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_can_trim")]
    public static partial int CanTrim(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_can_zero")]
    public static partial int CanZero(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_get_fd")]
    public static partial int GetDescriptor(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_get_direction")]
    public static partial uint GetDirection(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_notify_read")]
    public static partial int NotifyRead(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_notify_write")]
    public static partial int NotifyWrite(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_peek_command_completed")]
    public static partial long PeekCompleted(NbdHandle handle);

    [LibraryImport(Library, EntryPoint = "nbd_aio_command_completed")]
    public static partial int IsCompleted(NbdHandle handle, ulong cookie);

    [LibraryImport(Library, EntryPoint = "nbd_get_errno")]
    public static partial int GetErrno();

    // SAFETY: the buffers are pinned or native memory of a slot, which lives until its command has completed or the connection is closed.
    [LibraryImport(Library, EntryPoint = "nbd_aio_pread")]
    public static partial long Read(NbdHandle handle, byte* buffer, nuint count, ulong offset, CompletionCallback completion, uint flags);

    [LibraryImport(Library, EntryPoint = "nbd_aio_pwrite")]
    public static partial long Write(NbdHandle handle, byte* buffer, nuint count, ulong offset, CompletionCallback completion, uint flags);

    [LibraryImport(Library, EntryPoint = "nbd_aio_flush")]
    public static partial long Flush(NbdHandle handle, CompletionCallback completion, uint flags);

    [LibraryImport(Library, EntryPoint = "nbd_aio_trim")]
    public static partial long Trim(NbdHandle handle, ulong count, ulong offset, CompletionCallback completion, uint flags);

    [LibraryImport(Library, EntryPoint = "nbd_aio_zero")]
    public static partial long Zero(NbdHandle handle, ulong count, ulong offset, CompletionCallback completion, uint flags);

    // SAFETY: these two return when the server has answered, so the buffer need only live as long as the call.
    [LibraryImport(Library, EntryPoint = "nbd_pwrite")]
    public static partial int WriteNow(NbdHandle handle, byte* buffer, nuint count, ulong offset, uint flags);

    [LibraryImport(Library, EntryPoint = "nbd_zero")]
    public static partial int ZeroNow(NbdHandle handle, ulong count, ulong offset, uint flags);

    [LibraryImport(Library, EntryPoint = "nbd_flush")]
    public static partial int FlushNow(NbdHandle handle, uint flags);

    [LibraryImport(Library, EntryPoint = "nbd_get_error")]
    private static partial nint GetError();
}
