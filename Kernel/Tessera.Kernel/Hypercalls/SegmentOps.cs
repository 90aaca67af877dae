using System.Runtime.InteropServices;
using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>Descriptor tables and segment bases: set_gdt, set_ldt, update_descriptor, set_segment_base.</summary>
internal static class SegmentOps
{
    private const int DescriptorsPerFrame = 512;
    private const int MaxLdtDescriptors = 8192;

    /// <summary>set_gdt(frame list, entries).</summary>
    public static long SetGdt(ref HypercallCall call)
    {
        uint entries = (uint)call.A1;
        if (entries > FlatSelectors.FirstReservedEntry)
            return HypercallCall.Error(XenErrno.EINVAL);
        int count = ((int)entries + DescriptorsPerFrame - 1) / DescriptorsPerFrame;
        Span<ulong> numbers = stackalloc ulong[FlatSelectors.FirstReservedPage];
        numbers = numbers[..count];
        if (!call.Domain.Guest.TryRead(call.Vcpu.Index, userMode: false, call.A0, MemoryMarshal.AsBytes(numbers)))
            return HypercallCall.Error(XenErrno.EFAULT);
        Mfn[] frames = new Mfn[count];
        for (int index = 0; index < count; index++)
        {
            frames[index] = new Mfn((long)(numbers[index] & long.MaxValue));
            XenErrno error = call.Domain.Mmu.AcquireDescriptorFrame(frames[index]);
            if (error == XenErrno.Success)
                continue;
            Release(ref call, frames.AsSpan(0, index));
            return HypercallCall.Error(error);
        }

        Vcpu vcpu = call.Vcpu;
        Mfn[] old = vcpu.Context.GdtFrames;
        (vcpu.Context.GdtFrames, vcpu.Context.GdtEntries) = (frames, (int)entries);
        Load(vcpu);
        Release(ref call, old);
        return 0;
    }

    /// <summary>MMUEXT_SET_LDT: the pages that map the table now become descriptor frames.</summary>
    public static XenErrno SetLdt(ref HypercallCall call, ulong address, int entries)
    {
        if (entries > MaxLdtDescriptors || (entries > 0 && ((address & 4095) != 0 || !HypercallCall.IsGuestAddress(address))))
            return XenErrno.EINVAL;
        int count = (entries + DescriptorsPerFrame - 1) / DescriptorsPerFrame;
        Mfn[] frames = new Mfn[count];
        for (int index = 0; index < count; index++)
        {
            XenErrno error = call.Domain.Mmu.Translate(call.Vcpu.Index, userMode: false, new VirtualAddress(address + ((ulong)index << 12)), forWriting: false, out ulong machine)
                ? call.Domain.Mmu.AcquireDescriptorFrame(frames[index] = PageTableEntry.FrameOf(machine))
                : XenErrno.EFAULT;
            if (error == XenErrno.Success)
                continue;
            Release(ref call, frames.AsSpan(0, index));
            return error;
        }

        Vcpu vcpu = call.Vcpu;
        Mfn[] old = vcpu.Context.LdtFrames;
        (vcpu.Context.LdtFrames, vcpu.Context.LdtEntries) = (frames, entries);
        Load(vcpu);
        Release(ref call, old);
        return XenErrno.Success;
    }

    /// <summary>update_descriptor(machine address, descriptor).</summary>
    public static long UpdateDescriptor(ref HypercallCall call) => HypercallCall.Error(call.Domain.Mmu.UpdateDescriptor(call.A0, call.A1));

    /// <summary>set_segment_base(which, base or selector).</summary>
    public static long SetSegmentBase(ref HypercallCall call)
    {
        ref GuestCpuState state = ref call.Vcpu.Cpu.State;
        ulong value = call.A1;
        if ((SegmentBase)call.A0 == SegmentBase.GsUserSel)
        {
            state.Gs = (ushort)((value & 0xFFFC) == 0 ? value & 0xFFFF : (value & 0xFFFF) | 3);
            if (!TryBaseOf(ref call, state.Gs, out ulong segmentBase))
                state.Gs = 0;
            call.Vcpu.Context.GsBaseUser = segmentBase;
            return 0;
        }

        if (!new VirtualAddress(value).IsCanonical)
            return HypercallCall.Error(XenErrno.EINVAL);
        switch ((SegmentBase)call.A0)
        {
            case SegmentBase.Fs:
                state.FsBase = value;
                return 0;
            case SegmentBase.GsUser:
                call.Vcpu.Context.GsBaseUser = value;
                return 0;
            case SegmentBase.GsKernel:
                state.GsBase = value;
                return 0;
            default:
                return HypercallCall.Error(XenErrno.EINVAL);
        }
    }

    /// <summary>The domain is dead: its tables stop being descriptor frames.</summary>
    public static void ReleaseAll(Vcpu vcpu)
    {
        PvContext context = vcpu.Context;
        foreach (Mfn frame in (ReadOnlySpan<Mfn>)[.. context.GdtFrames, .. context.LdtFrames])
            vcpu.Domain.Mmu.ReleaseDescriptorFrame(frame);
        (context.GdtFrames, context.LdtFrames) = ([], []);
    }

    /// <summary>A restored vCPU's tables become descriptor frames, as for those who set them; when one is refused, the domain does not come to be.</summary>
    public static XenErrno TryReload(Vcpu vcpu)
    {
        PvContext context = vcpu.Context;
        foreach (Mfn frame in (ReadOnlySpan<Mfn>)[.. context.GdtFrames, .. context.LdtFrames])
        {
            XenErrno error;
            while ((error = vcpu.Domain.Mmu.AcquireDescriptorFrame(frame)) == XenErrno.ERESTART)
                vcpu.Domain.FinishMmuWork();
            if (error != XenErrno.Success)
                return error;
        }

        Load(vcpu);
        return XenErrno.Success;
    }

    /// <summary>Whether a selector names a 32-bit (or 16-bit) code segment: the flat one of the VMM, or one of the guest's tables.</summary>
    public static bool Is32BitCode(Vcpu vcpu, ushort selector)
    {
        const ulong PresentCode = (1UL << 47) | (1UL << 44) | (1UL << 43);
        const ulong LongMode = 1UL << 53;
        return selector == FlatSelectors.Code32
            || (TryDescriptor(vcpu, selector, out ulong descriptor) && (descriptor & (PresentCode | LongMode)) == PresentCode);
    }

    /// <summary>Whether a selector of 32-bit code names a flat segment of 32 bits: RIP is where its instruction lies, and how it is to be read.</summary>
    public static bool IsFlat32BitCode(Vcpu vcpu, ushort selector)
    {
        const ulong Base = 0xFF00_00FF_FFFF_0000;
        const ulong DefaultSize32 = 1UL << 54;
        return selector == FlatSelectors.Code32
            || (TryDescriptor(vcpu, selector, out ulong descriptor) && (descriptor & (Base | DefaultSize32)) == DefaultSize32);
    }

    private static bool TryDescriptor(Vcpu vcpu, ushort selector, out ulong descriptor)
    {
        bool isLdt = (selector & 4) != 0;
        int index = selector >> 3;
        Mfn[] frames = isLdt ? vcpu.Context.LdtFrames : vcpu.Context.GdtFrames;
        bool found = index < (isLdt ? vcpu.Context.LdtEntries : vcpu.Context.GdtEntries);
        descriptor = found ? MemoryMarshal.Cast<byte, ulong>(vcpu.Domain.Memory.Frame(frames[index / DescriptorsPerFrame]))[index % DescriptorsPerFrame] : 0;
        return found;
    }

    /// <summary>The base in the descriptor that a selector names; zero and false when there is none.</summary>
    private static bool TryBaseOf(ref HypercallCall call, ushort selector, out ulong segmentBase)
    {
        segmentBase = 0;
        if ((selector & 0xFFFC) == 0)
            return true;
        if (!TryDescriptor(call.Vcpu, selector, out ulong descriptor))
            return (selector & 4) == 0 && selector >> 3 >= FlatSelectors.FirstReservedEntry;
        segmentBase = ((descriptor >> 16) & 0xFF_FFFF) | ((descriptor >> 32) & 0xFF00_0000);
        return (descriptor & (1UL << 47)) != 0;
    }

    private static void Load(Vcpu vcpu)
    {
        PvContext context = vcpu.Context;
        vcpu.Cpu.SetDescriptorTables(new GuestDescriptorTables(context.GdtFrames, context.GdtEntries, context.LdtFrames, context.LdtEntries));
    }

    private static void Release(ref HypercallCall call, ReadOnlySpan<Mfn> frames)
    {
        foreach (Mfn frame in frames)
            call.Domain.Mmu.ReleaseDescriptorFrame(frame);
    }
}
