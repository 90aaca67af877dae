using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Tmds.Linux;

namespace Tessera.Plugins.Block.Native;

/// <summary>One piece of memory for the kernel: struct iovec.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct IoVector
{
    public nint Address;
    public nuint Length;
}

/// <summary>
/// Linux's file calls (man 2). A negative result is minus errno; interrupted calls are repeated. What Tmds.LibC has no name for goes through its syscall(2), with
/// x86-64's numbers. The numbers here are those of Tmds.LibC as constants, which patterns need.
/// </summary>
internal static unsafe class FileNative
{
    public const int OpenReadOnly = 0;
    public const int OpenReadWrite = 2;
    public const int OpenCreate = 0x40;
    public const int OpenExclusive = 0x80;
    public const int OpenDirect = 0x4000;
    public const int OpenNoFollow = 0x20000;
    public const int OpenCloseOnExec = 0x80000;

    /// <summary>A pipe that nobody writes is opened at once, instead of never; to files it means nothing.</summary>
    public const int OpenNonBlocking = 0x800;

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

    private const int SysFlock = 73;
    private const int SysPreadv2 = 327;
    private const int SysPwritev2 = 328;
    private const int GetLogicalSector = 0x1268;
    private const int GetPhysicalSector = 0x127B;

    /// <summary>Opens a file.</summary>
    public static int Open(string path, int flags, int mode, out SafeFileHandle handle)
    {
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            int fd = LibC.open(name, flags | OpenCloseOnExec | OpenNonBlocking, (ushort)mode);
            int error = fd < 0 ? -LibC.errno : 0;
            handle = new SafeFileHandle(fd, ownsHandle: true);
            return error;
        }
    }

    /// <summary>Size of a file or block device, bytes.</summary>
    public static long Size(SafeFileHandle file)
    {
        using Held held = new(file);
        long end = LibC.lseek(held.Fd, 0, LibC.SEEK_END);
        return end < 0 ? -LibC.errno : end;
    }

    /// <summary>Bytes of a block device's sector (BLKSSZGET).</summary>
    public static int LogicalSector(SafeFileHandle file) => Ask(file, GetLogicalSector);

    /// <summary>Bytes that a block device writes at once (BLKPBSZGET).</summary>
    public static int PhysicalSector(SafeFileHandle file) => Ask(file, GetPhysicalSector);

    public static int Lock(SafeFileHandle file, int operation)
    {
        using Held held = new(file);
        return (int)LibC.syscall(SysFlock, held.Fd, operation) == 0 ? 0 : -LibC.errno;
    }

    public static int Truncate(SafeFileHandle file, long size)
    {
        using Held held = new(file);
        return LibC.ftruncate(held.Fd, size) == 0 ? 0 : -LibC.errno;
    }

    public static int Synchronize(SafeFileHandle file)
    {
        using Held held = new(file);
        for (; ; )
        {
            if (LibC.fdatasync(held.Fd) == 0)
                return 0;
            int error = LibC.errno;
            if (error != Interrupted)
                return -error;
        }
    }

    public static int SynchronizeAll(SafeFileHandle file)
    {
        using Held held = new(file);
        for (; ; )
        {
            if (LibC.fsync(held.Fd) == 0)
                return 0;
            int error = LibC.errno;
            if (error != Interrupted)
                return -error;
        }
    }

    public static int Allocate(SafeFileHandle file, int mode, long offset, long length)
    {
        using Held held = new(file);
        for (; ; )
        {
            if (LibC.fallocate(held.Fd, mode, offset, length) == 0)
                return 0;
            int error = LibC.errno;
            if (error != Interrupted)
                return -error;
        }
    }

    /// <summary>Bytes read, 0 at the end of the file.</summary>
    public static long Read(SafeFileHandle file, IoVector* vectors, int count, long offset, int flags)
    {
        using Held held = new(file);
        for (; ; )
        {
            long done = ReadVectors(held.Fd, vectors, count, offset, flags);
            if (done >= 0)
                return done;
            int error = LibC.errno;
            if (error != Interrupted)
                return -error;
        }
    }

    /// <summary>Bytes written.</summary>
    public static long Write(SafeFileHandle file, IoVector* vectors, int count, long offset)
    {
        using Held held = new(file);
        for (; ; )
        {
            long done = WriteVectors(held.Fd, vectors, count, offset);
            if (done >= 0)
                return done;
            int error = LibC.errno;
            if (error != Interrupted)
                return -error;
        }
    }

    private static int Ask(SafeFileHandle file, int request)
    {
        using Held held = new(file);
        int answer = 0;
        // SAFETY: both requests write an int.
        return LibC.ioctl(held.Fd, request, &answer) == 0 ? answer : -LibC.errno;
    }

    // SAFETY: each pointer is to vectors of the caller that live through the call, and they name memory that is pinned for as long.
    private static long ReadVectors(int fd, IoVector* vectors, int count, long offset, int flags) => (ssize_t)LibC.syscall(SysPreadv2, fd, vectors, count, (ssize_t)offset, 0, flags);

    private static long WriteVectors(int fd, IoVector* vectors, int count, long offset) => (ssize_t)LibC.syscall(SysPwritev2, fd, vectors, count, (ssize_t)offset, 0, 0);

    /// <summary>A file's descriptor, which stays open until this is disposed.</summary>
    private readonly ref struct Held
    {
        private readonly SafeFileHandle _file;

        public Held(SafeFileHandle file)
        {
            bool isHeld = false;
            file.DangerousAddRef(ref isHeld);
            _file = file;
        }

        public int Fd => (int)_file.DangerousGetHandle();

        public void Dispose() => _file.DangerousRelease();
    }
}
