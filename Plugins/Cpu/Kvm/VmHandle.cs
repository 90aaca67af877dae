using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>A KVM VM and its memory slots.</summary>
internal sealed class VmHandle : IDisposable
{
    private const uint LogDirtyPagesFlag = 1;
    private const uint ReadOnlyFlag = 2;
    private const uint ScratchSlot = 0;
    private const string MemoryCure = "Free memory on the host or run fewer domains.";

    private readonly KvmHost _host;
    private readonly DescriptorHandle _vm;
    private readonly Dictionary<Mfn, uint> _single = [];
    private readonly Stack<uint> _freeSlots = new();
    private uint _slots = 1;

    public VmHandle(KvmHost host)
    {
        _host = host;
        _vm = host.CreateVm();
        // Both only matter on old VT-x without unrestricted guests, where KVM would take addresses just below 4 GiB.
        ulong identityMap = (ulong)EngineArea.IdentityMapFrame << 12;
        if (host.Extension(KvmCalls.CapSetIdentityMapAddress) != 0)
            _ = KvmCalls.Call(_vm.Fd, KvmCalls.SetIdentityMapAddress, ref identityMap);
        if (host.Extension(KvmCalls.CapSetTssAddress) != 0)
            _ = KvmCalls.Call(_vm.Fd, KvmCalls.SetTssAddress, (nint)(EngineArea.KvmTaskStateFrame << 12));
    }

    /// <summary>Gives the machine memory.</summary>
    /// <returns>Its slot.</returns>
    public uint AddMemory(MemoryRegion region)
    {
        SetSlot(_slots, region.First, region.Frames, region.HostAddress, region.IsReadOnly ? ReadOnlyFlag : 0);
        return _slots++;
    }

    /// <summary>Has KVM log the writes to memory that the machine has, or ends that.</summary>
    public void LogWrites(uint slot, MemoryRegion region, bool on) =>
        SetSlot(slot, region.First, region.Frames, region.HostAddress, on ? LogDirtyPagesFlag : 0);

    /// <summary>Takes that log: a bit a frame. Negative is minus errno: -ENOENT without a log.</summary>
    public unsafe int TakeLog(uint slot, Span<ulong> bitmap)
    {
        // SAFETY: KVM writes a bit for each frame of the slot, rounded up to whole elements; the caller has made sure that so many are there.
        fixed (ulong* bits = bitmap)
        {
            KvmDirtyLog log = new() { Slot = slot, Bitmap = (nint)bits };
            return KvmCalls.Call(_vm.Fd, KvmCalls.GetDirtyLog, ref log);
        }
    }

    /// <summary>Gives the machine one more frame, which may be taken away again; false when KVM has no slot left.</summary>
    public bool TryAddFrame(MemoryRegion region)
    {
        uint slot = _freeSlots.TryPop(out uint free) ? free : _slots;
        if (slot >= _host.MaxMemorySlots)
            return false;
        SetSlot(slot, region.First, 1, region.HostAddress, region.IsReadOnly ? ReadOnlyFlag : 0);
        _slots = Math.Max(_slots, slot + 1);
        _single.Add(region.First, slot);
        return true;
    }

    /// <summary>Takes such a frame away.</summary>
    public void RemoveFrame(Mfn frame)
    {
        if (!_single.Remove(frame, out uint slot))
            throw new InvalidOperationException($"{frame} was not added by itself.");
        SetSlot(slot, frame, 0, 0, 0);
        _freeSlots.Push(slot);
    }

    /// <summary>
    /// Makes KVM forget every shadow page of the VM, by deleting a memory slot that nothing uses: KVM drops all of them at a deletion
    /// (KVM_X86_QUIRK_SLOT_ZAP_ALL, on by default).
    /// </summary>
    /// <param name="page">Any page of this process; nobody reads it there, and nobody can write it.</param>
    public void DropShadowPages(nint page)
    {
        SetSlot(ScratchSlot, new Mfn(EngineArea.ScratchFrame), 1, page, ReadOnlyFlag);
        SetSlot(ScratchSlot, new Mfn(EngineArea.ScratchFrame), 0, page, 0);
    }

    /// <summary>Creates a vCPU.</summary>
    public VcpuHandle CreateVcpu(int id)
    {
        int fd = KvmCalls.Call(_vm.Fd, KvmCalls.CreateVcpu, id);
        return fd >= 0
            ? new VcpuHandle(new DescriptorHandle(fd), _host)
            : throw KvmHost.Failed($"KVM_CREATE_VCPU {id}", -fd, "Raise the limit of open files (ulimit -n) or run fewer vCPUs.");
    }

    /// <inheritdoc/>
    public void Dispose() => _vm.Dispose();

    private void SetSlot(uint slot, Mfn first, long frames, nint hostAddress, uint flags)
    {
        KvmMemoryRegion region = new() { Slot = slot, Flags = flags, GuestAddress = first.Address, Size = (ulong)frames << 12, HostAddress = (ulong)hostAddress };
        int result = KvmCalls.Call(_vm.Fd, KvmCalls.SetUserMemoryRegion, ref region);
        if (result < 0)
            throw KvmHost.Failed($"KVM_SET_USER_MEMORY_REGION of {frames} frames at {first}", -result, MemoryCure);
    }
}
