using System.Runtime.CompilerServices;
using System.Text;
using Tmds.Linux;

namespace Tessera.Plugins.Cpu.Kvm.Native;

/// <summary>The ioctls of /dev/kvm (Linux Documentation/virt/kvm/api.rst). Numbers are those of x86-64's linux/kvm.h.</summary>
internal static unsafe class KvmCalls
{
    // SAFETY: every pointer given to ioctl is to a live, correctly sized structure of the caller; the kernel keeps none of them.
    public const int ApiVersion = 12;

    public const uint GetApiVersion = 0xAE00;
    public const uint CreateVm = 0xAE01;
    public const uint CheckExtension = 0xAE03;
    public const uint GetVcpuMmapSize = 0xAE04;
    public const uint GetSupportedCpuid = 0xC008AE05;
    public const uint CreateVcpu = 0xAE41;
    public const uint SetUserMemoryRegion = 0x4020AE46;
    public const uint GetDirtyLog = 0x4010AE42;
    public const uint SetTssAddress = 0xAE47;
    public const uint SetIdentityMapAddress = 0x4008AE48;
    public const uint RunVcpu = 0xAE80;
    public const uint GetSregs = 0x8138AE83;
    public const uint SetSregs = 0x4138AE84;
    public const uint GetMsrs = 0xC008AE88;
    public const uint SetMsrs = 0x4008AE89;
    public const uint SetSignalMask = 0x4004AE8B;
    public const uint SetCpuid2 = 0x4008AE90;
    public const uint GetDebugRegs = 0x8080AEA1;
    public const uint SetDebugRegs = 0x4080AEA2;
    public const uint GetXsave = 0x9000AEA4;
    public const uint SetXsave = 0x5000AEA5;
    public const uint SetXcrs = 0x4188AEA7;
    public const uint SetDeviceAttribute = 0x4018AEE1;

    public const int CapUserMemory = 3;
    public const int CapSetTssAddress = 4;
    public const int CapExtendedCpuid = 7;
    public const int CapMemorySlots = 10;
    public const int CapSetIdentityMapAddress = 37;
    public const int CapDebugRegs = 50;
    public const int CapXcrs = 56;
    public const int CapMaxVcpus = 66;
    public const int CapSyncRegs = 74;
    public const int CapReadOnlyMemory = 81;
    public const int CapImmediateExit = 136;

    public const int ErrnoPermission = 1;
    public const int ErrnoNoEntry = 2;
    public const int ErrnoInterrupted = 4;
    public const int ErrnoAgain = 11;
    public const int ErrnoAccess = 13;

    /// <summary>Opens the device. A negative result is minus errno.</summary>
    public static int OpenDevice(string path)
    {
        fixed (byte* name = Encoding.UTF8.GetBytes(path + '\0'))
        {
            int fd = LibC.open(name, LibC.O_RDWR | LibC.O_CLOEXEC);
            return fd < 0 ? -LibC.errno : fd;
        }
    }

    /// <summary>An ioctl whose argument is a number. A negative result is minus errno; interrupted calls are repeated.</summary>
    public static int Call(int fd, uint request, nint argument)
    {
        for (; ; )
        {
            int result = LibC.ioctl(fd, (int)request, (void*)argument);
            if (result >= 0)
                return result;
            int errno = LibC.errno;
            if (errno != ErrnoInterrupted)
                return -errno;
        }
    }

    /// <summary>An ioctl whose argument is a structure. A negative result is minus errno; interrupted calls are repeated.</summary>
    public static int Call<T>(int fd, uint request, ref T argument)
        where T : unmanaged
    {
        fixed (T* pointer = &argument)
            return Call(fd, request, (nint)pointer);
    }

    /// <summary>One KVM_RUN: 0 for an exit described in the run area, else errno (EINTR when a signal ended it).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Run(int fd) => LibC.ioctl(fd, (int)RunVcpu, 0) >= 0 ? 0 : LibC.errno;
}
