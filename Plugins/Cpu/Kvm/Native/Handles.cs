using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Tmds.Linux;

namespace Tessera.Plugins.Cpu.Kvm.Native;

/// <summary>A file descriptor of KVM: the device, a VM or a vCPU.</summary>
internal sealed class DescriptorHandle : SafeHandleMinusOneIsInvalid
{
    public DescriptorHandle(int fd)
        : base(ownsHandle: true) => SetHandle(fd);

    /// <summary>The number, valid while this object is alive and not disposed.</summary>
    public int Fd => (int)handle;

    protected override bool ReleaseHandle() => LibC.close((int)handle) == 0;
}

/// <summary>A mapping of this process's memory: private zeroed pages, or a vCPU's run area.</summary>
internal sealed unsafe class MappingHandle : SafeHandleMinusOneIsInvalid
{
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
    public static MappingHandle Anonymous(long bytes) => Map(bytes, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS, -1, "memory of the engine");

    /// <summary>Maps the run area of a vCPU.</summary>
    public static MappingHandle OfVcpu(DescriptorHandle vcpu, int bytes) => Map(bytes, LibC.MAP_SHARED, vcpu.Fd, "a vCPU's run area");

    protected override bool ReleaseHandle() => LibC.munmap((void*)handle, (size_t)(ulong)_length) == 0;

    private static MappingHandle Map(long bytes, int flags, int fd, string what)
    {
        // SAFETY: a new mapping, where the kernel has room for it; it lives until the handle is released.
        void* address = LibC.mmap(null, (size_t)(ulong)bytes, LibC.PROT_READ | LibC.PROT_WRITE, flags, fd, 0);
        if (address == LibC.MAP_FAILED)
        {
            int errno = LibC.errno;
            throw new Sdk.Cpu.EngineException($"Mapping {bytes} bytes for {what} failed: {Marshal.GetPInvokeErrorMessage(errno)}.", "Free memory on the host or run fewer domains.");
        }

        return new MappingHandle((nint)address, (nint)bytes);
    }
}
