using Tessera.Plugins.Memory.DirectPaging;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Conformance.Tests;

/// <summary>Direct paging, from which each broken MMU differs in one thing.</summary>
internal class HonestMmu : IMmuVirtualization, IDomainMmu
{
    protected IMmuHost Host { get; private set; } = null!;

    protected IDomainMmu Inner { get; private set; } = null!;

    public IDomainMmu Attach(IMmuHost host)
    {
        (Host, Inner) = (host, new DirectPaging().Attach(host));
        return this;
    }

    public bool HasWork => Inner.HasWork;

    public virtual bool Work(int entries) => Inner.Work(entries);

    public virtual XenErrno AdoptBootTables(Mfn root) => Inner.AdoptBootTables(root);

    public virtual XenErrno Update(ulong pointer, ulong value) => Inner.Update(pointer, value);

    public virtual XenErrno UpdateVaMapping(int vcpu, VirtualAddress address, ulong entry) => Inner.UpdateVaMapping(vcpu, address, entry);

    public virtual XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source) => Inner.Extended(vcpu, command, frame, source);

    public virtual Mfn Root(int vcpu, bool userMode) => Inner.Root(vcpu, userMode);

    public virtual bool Translate(int vcpu, bool userMode, VirtualAddress address, bool forWriting, out ulong machineAddress) =>
        Inner.Translate(vcpu, userMode, address, forWriting, out machineAddress);

    public virtual bool FindEntry(int vcpu, VirtualAddress address, out ulong entryAddress) =>
        Inner.FindEntry(vcpu, address, out entryAddress);

    public virtual FaultAnswer OnFault(int vcpu, bool userMode, VirtualAddress address, PageFaultError error) =>
        Inner.OnFault(vcpu, userMode, address, error);

    public virtual XenErrno AcquireDescriptorFrame(Mfn frame) => Inner.AcquireDescriptorFrame(frame);

    public void ReleaseDescriptorFrame(Mfn frame) => Inner.ReleaseDescriptorFrame(frame);

    public virtual XenErrno UpdateDescriptor(ulong machineAddress, ulong descriptor) => Inner.UpdateDescriptor(machineAddress, descriptor);

    public virtual void Release() => Inner.Release();

    protected static Mfn FrameOf(ulong address) => new((long)(address >> 12));

    protected bool IsTable(ulong pointer, FrameType type) => Host.Frames.TypeOf(FrameOf(pointer)).Type == type;

    protected static bool IsPin(uint command) => command <= (uint)MmuExtOp.PinL4Table;

    /// <summary>Writes an entry whatever it is, and says so.</summary>
    protected XenErrno Put(ulong pointer, ulong value)
    {
        ref ulong entry = ref Host.Table(FrameOf(pointer))[(int)(pointer & 0xFFF) / 8];
        (ulong old, entry) = (entry, value);
        Host.EntryChanged(pointer & ~7UL, old, value);
        return XenErrno.Success;
    }
}

/// <summary>Says that it wrote.</summary>
internal sealed class ForgetsUpdates : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value) =>
        IsTable(pointer, FrameType.L1) ? XenErrno.Success : Inner.Update(pointer, value);
}

/// <summary>Looks at entries that no CPU looks at.</summary>
internal sealed class RefusesSwapEntries : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value) =>
        (value & PageTableEntry.Present) == 0 && value != 0 ? XenErrno.EINVAL : Inner.Update(pointer, value);
}

/// <summary>Maps what is not the domain's.</summary>
internal sealed class MapsForeignFrames : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value) =>
        Inner.Update(pointer, value) is var answer && answer is XenErrno.EPERM or XenErrno.EINVAL && IsTable(pointer, FrameType.L1)
            && !Host.Frames.Has(PageTableEntry.FrameOf(value)) ? Put(pointer, value | PageTableEntry.User) : answer;
}

/// <summary>Maps tables writable.</summary>
internal sealed class MapsTablesWritable : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value)
    {
        XenErrno answer = Inner.Update(pointer, value);
        bool isTable = Host.Frames.TypeOf(PageTableEntry.FrameOf(value)).Type is >= FrameType.L1 and <= FrameType.L4;
        return answer == XenErrno.EBUSY && pointer % 8 == 0 && IsTable(pointer, FrameType.L1) && isTable ? Put(pointer, value | PageTableEntry.User) : answer;
    }
}

/// <summary>Pins what is in use as something else, and what is pinned.</summary>
internal sealed class PinsAnything : HonestMmu
{
    public override XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source) =>
        Inner.Extended(vcpu, command, frame, source) is var answer && IsPin(command) && answer == XenErrno.EINVAL ? XenErrno.Success : answer;
}

/// <summary>Takes updates of the VMM's entries.</summary>
internal sealed class UpdatesSlotsOfTheVmm : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value) =>
        IsTable(pointer, FrameType.L4) && (pointer & 0xFFF) / 8 is >= 256 and <= 271 ? XenErrno.Success : Inner.Update(pointer, value);
}

/// <summary>Does not let go of a table that is unlinked.</summary>
internal sealed class KeepsUnlinkedTables : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value) =>
        value == 0 && IsTable(pointer, FrameType.L2) ? Put(pointer, value) : Inner.Update(pointer, value);
}

/// <summary>Does not let go of a table that was refused.</summary>
internal sealed class KeepsBadTables : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value)
    {
        XenErrno answer = Inner.Update(pointer, value);
        if (answer == XenErrno.EINVAL && IsTable(pointer, FrameType.L3))
            Host.Frames.TakeType(PageTableEntry.FrameOf(value), FrameType.L2);
        return answer;
    }

    public override XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source)
    {
        XenErrno answer = Inner.Extended(vcpu, command, frame, source);
        if (answer == XenErrno.EINVAL && IsPin(command))
            Host.Frames.TakeType(frame, (FrameType)(command + 1));
        return answer;
    }
}

/// <summary>Takes every update for a normal one.</summary>
internal sealed class ForgetsAccessedBits : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value) =>
        Inner.Update((pointer & 3) == (ulong)MmuUpdateKind.PtUpdatePreserveAd ? pointer & ~3UL : pointer, value);
}

/// <summary>Lets a descriptor table be written as plain memory.</summary>
internal sealed class WritesDescriptorTables : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value) =>
        IsTable(pointer, FrameType.Descriptors) ? XenErrno.Success : Inner.Update(pointer, value);
}

/// <summary>Writes somewhere near.</summary>
internal sealed class RoundsPointers : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value) => Inner.Update(pointer & ~4UL, value);
}

/// <summary>Numbers frames of others.</summary>
internal sealed class NumbersForeignFrames : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value)
    {
        if ((pointer & 3) == (ulong)MmuUpdateKind.MachphysUpdate)
            Host.SetPfn(FrameOf(pointer), new Pfn((long)value));
        return (pointer & 3) == (ulong)MmuUpdateKind.MachphysUpdate ? XenErrno.Success : Inner.Update(pointer, value);
    }
}

/// <summary>Says that it mapped.</summary>
internal sealed class MapsNothingByAddress : HonestMmu
{
    public override XenErrno UpdateVaMapping(int vcpu, VirtualAddress address, ulong entry) => XenErrno.Success;
}

/// <summary>Forgets what for.</summary>
internal sealed class TranslatesReadOnlyPages : HonestMmu
{
    public override bool Translate(int vcpu, bool userMode, VirtualAddress address, bool forWriting, out ulong machineAddress) =>
        Inner.Translate(vcpu, userMode, address, forWriting: false, out machineAddress);
}

/// <summary>Finds something everywhere.</summary>
internal sealed class TranslatesEverything : HonestMmu
{
    public override bool Translate(int vcpu, bool userMode, VirtualAddress address, bool forWriting, out ulong machineAddress) =>
        Inner.Translate(vcpu, userMode, address, forWriting, out machineAddress) || !forWriting;
}

/// <summary>Finds only entries that are present.</summary>
internal sealed class FindsNoAbsentEntry : HonestMmu
{
    public override bool FindEntry(int vcpu, VirtualAddress address, out ulong entryAddress) =>
        Inner.FindEntry(vcpu, address, out entryAddress) && (Host.Table(FrameOf(entryAddress))[(int)(entryAddress & 0xFFF) / 8] & PageTableEntry.Present) != 0;
}

/// <summary>Has guests handle what they cannot know of.</summary>
internal sealed class LeavesFaultsToGuests : HonestMmu
{
    public override FaultAnswer OnFault(int vcpu, bool userMode, VirtualAddress address, PageFaultError error) => FaultAnswer.Guests(error);
}

/// <summary>Lets everything be tried again.</summary>
internal sealed class ResolvesEverything : HonestMmu
{
    public override FaultAnswer OnFault(int vcpu, bool userMode, VirtualAddress address, PageFaultError error) => FaultAnswer.Resolved;
}

/// <summary>Takes a process's stores for the kernel's.</summary>
internal sealed class EmulatesForProcesses : HonestMmu
{
    public override FaultAnswer OnFault(int vcpu, bool userMode, VirtualAddress address, PageFaultError error) =>
        Inner.OnFault(vcpu, userMode: false, address, error);
}

/// <summary>Remembers every update.</summary>
internal sealed class RemembersUpdates : HonestMmu
{
    private object? _last;

    public override XenErrno Update(ulong pointer, ulong value)
    {
        _last = (pointer, value, _last is null);
        return Inner.Update(pointer, value);
    }
}

/// <summary>Gives everybody the first vCPU's tables.</summary>
internal sealed class RootsEverybody : HonestMmu
{
    public override Mfn Root(int vcpu, bool userMode) => Inner.Root(0, userMode: false);
}

/// <summary>Takes whatever the domain builder made.</summary>
internal sealed class TrustsTheBuilder : HonestMmu
{
    public override XenErrno AdoptBootTables(Mfn root) =>
        Inner.AdoptBootTables(root) is var answer && answer == XenErrno.EBUSY ? XenErrno.Success : answer;
}

/// <summary>Leaves the guest's values in the VMM's slots.</summary>
internal sealed class LeavesTheSlots : HonestMmu
{
    public override XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source)
    {
        if (command != (uint)MmuExtOp.PinL4Table || !Host.Frames.Has(frame) || IsTable(frame.Address, FrameType.L4))
            return Inner.Extended(vcpu, command, frame, source);
        ulong[] before = Host.Table(frame)[256..272].ToArray();
        XenErrno answer = Inner.Extended(vcpu, command, frame, source);
        for (int slot = 0; slot < before.Length && answer == XenErrno.Success; slot++)
            Put(frame.Address + (256UL * 8) + ((ulong)slot * 8), before[slot]);
        return answer;
    }
}

/// <summary>Clears whatever it is told to, or says so.</summary>
internal sealed class ClearsForeignFrames : HonestMmu
{
    public override XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source) =>
        Inner.Extended(vcpu, command, frame, source) is var answer && command == (uint)MmuExtOp.ClearPage && answer == XenErrno.EINVAL ? XenErrno.Success : answer;
}

/// <summary>Cannot do without user tables once it had some.</summary>
internal sealed class KeepsUserRoots : HonestMmu
{
    public override XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source) =>
        command == (uint)MmuExtOp.NewUserBaseptr && frame.Value == 0 ? XenErrno.Success : Inner.Extended(vcpu, command, frame, source);
}

/// <summary>Says that it copied.</summary>
internal sealed class CopiesNothing : HonestMmu
{
    public override XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source) =>
        command == (uint)MmuExtOp.CopyPage && Host.Frames.Has(source) ? XenErrno.Success : Inner.Extended(vcpu, command, frame, source);
}

/// <summary>Answers for commands that are the kernel's.</summary>
internal sealed class AnswersFlushes : HonestMmu
{
    public override XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source) =>
        command == (uint)MmuExtOp.TlbFlushLocal ? XenErrno.Success : Inner.Extended(vcpu, command, frame, source);
}

/// <summary>Writes descriptors of ring 0.</summary>
internal sealed class WritesDescriptorsAsTheyAre : HonestMmu
{
    public override XenErrno UpdateDescriptor(ulong machineAddress, ulong descriptor)
    {
        XenErrno answer = Inner.UpdateDescriptor(machineAddress, descriptor);
        if (answer == XenErrno.Success)
            Host.Table(FrameOf(machineAddress))[(int)(machineAddress & 0xFFF) / 8] = descriptor;
        return answer;
    }
}

/// <summary>Takes gates.</summary>
internal sealed class TakesGates : HonestMmu
{
    public override XenErrno UpdateDescriptor(ulong machineAddress, ulong descriptor) =>
        Inner.UpdateDescriptor(machineAddress, descriptor) is var answer && answer == XenErrno.EINVAL && machineAddress % 8 == 0 ? XenErrno.Success : answer;
}

/// <summary>Counts a descriptor table once, however often it is taken.</summary>
internal sealed class CountsDescriptorTablesOnce : HonestMmu
{
    public override XenErrno AcquireDescriptorFrame(Mfn frame) =>
        IsTable(frame.Address, FrameType.Descriptors) ? XenErrno.Success : Inner.AcquireDescriptorFrame(frame);
}

/// <summary>Takes a page table for a descriptor table.</summary>
internal sealed class TakesTablesForDescriptors : HonestMmu
{
    public override XenErrno AcquireDescriptorFrame(Mfn frame) =>
        IsTable(frame.Address, FrameType.L1) ? XenErrno.Success : Inner.AcquireDescriptorFrame(frame);
}

/// <summary>Does all of it at once.</summary>
internal sealed class WorksInOneGo : HonestMmu
{
    public override XenErrno Extended(int vcpu, uint command, Mfn frame, Mfn source)
    {
        XenErrno answer;
        while ((answer = Inner.Extended(vcpu, command, frame, source)) == XenErrno.ERESTART || Inner.HasWork)
        {
            while (!Inner.Work(int.MaxValue))
            {
            }

            if (answer != XenErrno.ERESTART)
                break;
        }

        return answer;
    }
}

/// <summary>Takes updates while something else is half done.</summary>
internal sealed class UpdatesBesideWork : HonestMmu
{
    public override XenErrno Update(ulong pointer, ulong value) => HasWork ? XenErrno.Success : Inner.Update(pointer, value);
}

/// <summary>Forgets that the domain is dead.</summary>
internal sealed class ReleasesNothing : HonestMmu
{
    public override void Release()
    {
    }
}
