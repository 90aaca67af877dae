using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Tessera.Plugins.Cpu.Kvm.Native;

/// <summary>A file descriptor of KVM: the device, a VM or a vCPU.</summary>
internal sealed partial class DescriptorHandle : SafeHandleMinusOneIsInvalid
{
    public DescriptorHandle(int fd)
        : base(ownsHandle: true) => SetHandle(fd);

    /// <summary>The number, valid while this object is alive and not disposed.</summary>
    public int Fd => (int)handle;

    protected override bool ReleaseHandle() => Close((int)handle) == 0;

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);
}

/// <summary>A mapping of this process's memory: private zeroed pages, or a vCPU's run area.</summary>
internal sealed partial class MappingHandle : SafeHandleMinusOneIsInvalid
{
    private const int ReadWrite = 3;
    private const int Shared = 1;
    private const int PrivateAnonymous = 0x22;

    private readonly nint _length;

    private MappingHandle(nint address, nint length)
        : base(ownsHandle: true)
    {
        _length = length;
        SetHandle(address);
    }

    /// <summary>The first byte.</summary>
    public nint Address => handle;

    /// <summary>Maps zeroed private memory; throws when the host has none.</summary>
    public static MappingHandle Anonymous(long bytes) => Map(bytes, PrivateAnonymous, -1, "memory of the engine");

    /// <summary>Maps the run area of a vCPU.</summary>
    public static MappingHandle OfVcpu(DescriptorHandle vcpu, int bytes) => Map(bytes, Shared, vcpu.Fd, "a vCPU's run area");

    protected override bool ReleaseHandle() => Unmap(handle, _length) == 0;

    private static MappingHandle Map(long bytes, int flags, int fd, string what)
    {
        nint address = Mmap(0, (nint)bytes, ReadWrite, flags, fd, 0);
        if (address == -1)
        {
            int errno = Marshal.GetLastPInvokeError();
            throw new Sdk.Cpu.EngineException($"Mapping {bytes} bytes for {what} failed: {Marshal.GetPInvokeErrorMessage(errno)}.", "Free memory on the host or run fewer domains.");
        }

        return new MappingHandle(address, (nint)bytes);
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Mmap(nint address, nint length, int protection, int flags, int fd, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(nint address, nint length);
}
