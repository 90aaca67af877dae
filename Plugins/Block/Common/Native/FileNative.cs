using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Tessera.Plugins.Block.Native;

/// <summary>One piece of memory for the kernel: struct iovec.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct IoVector
{
    public nint Address;
    public nuint Length;
}

/// <summary>Linux's file calls (man 2). A negative result is minus errno; interrupted calls are repeated.</summary>
internal static unsafe partial class FileNative
{
    public const int OpenReadOnly = 0;
    public const int OpenReadWrite = 2;
    public const int OpenCreate = 0x40;
    public const int OpenExclusive = 0x80;
    public const int OpenDirect = 0x4000;
    public const int OpenCloseOnExec = 0x80000;

    public const int LockShared = 1;
    public const int LockExclusive = 2;
    public const int LockNonBlocking = 4;

    public const int KeepSize = 1;
    public const int PunchHole = 2;
    public const int ZeroRange = 0x10;

    /// <summary>preadv2: only what needs no waiting for storage.</summary>
    public const int NoWait = 8;

    public const int Interrupted = 4;
    public const int IoError = 5;
    public const int Again = 11;
    public const int Access = 13;
    public const int Exists = 17;
    public const int Invalid = 22;
    public const int NoSpace = 28;
    public const int ReadOnlyFileSystem = 30;
    public const int NotSupported = 95;
    public const int QuotaExceeded = 122;

    private const int SeekEnd = 2;

    /// <summary>Opens a file.</summary>
    public static int Open(string path, int flags, int mode, out SafeFileHandle handle)
    {
        int fd = OpenFile(path, flags | OpenCloseOnExec, mode);
        int error = fd < 0 ? -Marshal.GetLastPInvokeError() : 0;
        handle = new SafeFileHandle(fd, ownsHandle: true);
        return error;
    }

    /// <summary>Size of a file or block device, bytes.</summary>
    public static long Size(SafeFileHandle file)
    {
        long end = Seek(file, 0, SeekEnd);
        return end < 0 ? -Marshal.GetLastPInvokeError() : end;
    }

    public static int Lock(SafeFileHandle file, int operation) => FlockFile(file, operation) == 0 ? 0 : -Marshal.GetLastPInvokeError();

    public static int Truncate(SafeFileHandle file, long size) => TruncateFile(file, size) == 0 ? 0 : -Marshal.GetLastPInvokeError();

    public static int Synchronize(SafeFileHandle file)
    {
        for (; ; )
        {
            if (DataSync(file) == 0)
                return 0;
            int error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
                return -error;
        }
    }

    public static int SynchronizeAll(SafeFileHandle file)
    {
        for (; ; )
        {
            if (FullSync(file) == 0)
                return 0;
            int error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
                return -error;
        }
    }

    public static int Allocate(SafeFileHandle file, int mode, long offset, long length)
    {
        for (; ; )
        {
            if (Fallocate(file, mode, offset, length) == 0)
                return 0;
            int error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
                return -error;
        }
    }

    /// <summary>Bytes read, 0 at the end of the file.</summary>
    public static long Read(SafeFileHandle file, IoVector* vectors, int count, long offset, int flags)
    {
        for (; ; )
        {
            nint done = ReadVectors(file, vectors, count, offset, flags);
            if (done >= 0)
                return done;
            int error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
                return -error;
        }
    }

    /// <summary>Bytes written.</summary>
    public static long Write(SafeFileHandle file, IoVector* vectors, int count, long offset)
    {
        for (; ; )
        {
            nint done = WriteVectors(file, vectors, count, offset, 0);
            if (done >= 0)
                return done;
            int error = Marshal.GetLastPInvokeError();
            if (error != Interrupted)
                return -error;
        }
    }

    // SAFETY: each pointer is to vectors of the caller that live through the call, and they name memory that is pinned for as long.
    [LibraryImport("libc", EntryPoint = "preadv2", SetLastError = true)]
    private static partial nint ReadVectors(SafeFileHandle file, IoVector* vectors, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "pwritev2", SetLastError = true)]
    private static partial nint WriteVectors(SafeFileHandle file, IoVector* vectors, int count, long offset, int flags);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenFile(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    private static partial long Seek(SafeFileHandle file, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int FlockFile(SafeFileHandle file, int operation);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    private static partial int TruncateFile(SafeFileHandle file, long size);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static partial int DataSync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FullSync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Fallocate(SafeFileHandle file, int mode, long offset, long length);
}
