using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Tessera.Plugins.Cpu.Kvm.Native;

/// <summary>Offsets in struct kvm_run (linux/kvm.h, x86-64).</summary>
internal static class RunArea
{
    public const int ImmediateExit = 1;
    public const int ExitReason = 8;
    public const int Detail = 32;
    public const int ValidRegs = 288;
    public const int DirtyRegs = 296;
    public const int SyncRegs = 304;
    public const int SyncSregs = SyncRegs + 0x90;
    public const int SyncEvents = SyncRegs + 0x1c8;

    public const ulong Regs = 1;
    public const ulong Sregs = 2;
    public const ulong Events = 4;
}

/// <summary>KVM_EXIT_* that can happen without an in-kernel interrupt controller.</summary>
internal static class ExitReason
{
    public const uint Io = 2;
    public const uint Mmio = 6;
    public const uint Shutdown = 8;
    public const uint FailEntry = 9;
    public const uint Intr = 10;
    public const uint InternalError = 17;
}

/// <summary>struct kvm_regs; the same order as the head of <see cref="Sdk.Cpu.X64.GuestCpuState"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmRegs
{
    public ulong Rax, Rbx, Rcx, Rdx, Rsi, Rdi, Rsp, Rbp, R8, R9, R10, R11, R12, R13, R14, R15, Rip, Rflags;
}

/// <summary>struct kvm_segment.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal struct KvmSegment
{
    public ulong Base;
    public uint Limit;
    public ushort Selector;
    public byte Type, Present, Dpl, Db, S, L, G, Avl, Unusable, Padding;
}

/// <summary>struct kvm_dtable.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmTable
{
    public ulong Base;
    public ushort Limit, Padding0, Padding1, Padding2;
}

/// <summary>struct kvm_sregs.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmSregs
{
    public KvmSegment Cs, Ds, Es, Fs, Gs, Ss, Tr, Ldt;
    public KvmTable Gdt, Idt;
    public ulong Cr0, Cr2, Cr3, Cr4, Cr8, Efer, ApicBase;
    public ulong InterruptBitmap0, InterruptBitmap1, InterruptBitmap2, InterruptBitmap3;
}

/// <summary>The head of struct kvm_vcpu_events; the whole has 64 bytes.</summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
internal struct KvmVcpuEvents
{
    public byte ExceptionInjected, ExceptionNumber, ExceptionHasErrorCode, ExceptionPending;
    public uint ExceptionErrorCode;
    public byte InterruptInjected, InterruptNumber, InterruptSoft, InterruptShadow;
    public byte NmiInjected, NmiPending, NmiMasked, Padding;
}

/// <summary>KVM_EXIT_IO's detail in struct kvm_run.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmIoExit
{
    public byte Direction, Size;
    public ushort Port;
    public uint Count;
    public ulong DataOffset;
}

/// <summary>KVM_EXIT_MMIO's detail.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmMmioExit
{
    public ulong PhysicalAddress;
    public ulong Data;
    public uint Length;
    public byte IsWrite;
}

/// <summary>struct kvm_userspace_memory_region.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmMemoryRegion
{
    public uint Slot, Flags;
    public ulong GuestAddress, Size, HostAddress;
}

/// <summary>struct kvm_dirty_log.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmDirtyLog
{
    public uint Slot, Padding;
    public nint Bitmap;
}

/// <summary>struct kvm_debugregs.</summary>
[StructLayout(LayoutKind.Sequential, Size = 128)]
internal struct KvmDebugRegs
{
    public ulong Db0, Db1, Db2, Db3, Dr6, Dr7, Flags;
}

/// <summary>struct kvm_cpuid_entry2.</summary>
[StructLayout(LayoutKind.Sequential, Size = 40)]
internal struct KvmCpuidEntry
{
    public uint Function, Index, Flags, Eax, Ebx, Ecx, Edx;
}

/// <summary>struct kvm_cpuid2 with room for as many entries as KVM has ever reported.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmCpuid
{
    public const int Capacity = 256;

    public uint Count, Padding;
    public EntryBuffer Entries;

    /// <summary>The entries.</summary>
    [InlineArray(Capacity)]
    internal struct EntryBuffer
    {
        private KvmCpuidEntry _first;
    }
}

/// <summary>struct kvm_msr_entry.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmMsrEntry
{
    public uint Index, Reserved;
    public ulong Value;
}

/// <summary>struct kvm_msrs with the few entries the engine sets.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmMsrs
{
    public const int Capacity = 8;

    public uint Count, Padding;
    public EntryBuffer Entries;

    /// <summary>The entries.</summary>
    [InlineArray(Capacity)]
    internal struct EntryBuffer
    {
        private KvmMsrEntry _first;
    }
}

/// <summary>struct kvm_device_attr.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmDeviceAttribute
{
    public uint Flags, Group;
    public ulong Attribute, Address;
}

/// <summary>struct kvm_xcrs, of which only XCR0 exists.</summary>
[StructLayout(LayoutKind.Sequential, Size = 392)]
internal struct KvmXcrs
{
    public uint Count, Flags, Xcr, Reserved;
    public ulong Value;
}

/// <summary>struct kvm_xsave: an XSAVE area in the standard format.</summary>
[InlineArray(Bytes)]
internal struct KvmXsave
{
    public const int Bytes = 4096;

    private byte _first;
}

/// <summary>struct kvm_signal_mask with the kernel's 64-bit signal set.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal struct KvmSignalMask
{
    public uint Length;
    public ulong Signals;
}
