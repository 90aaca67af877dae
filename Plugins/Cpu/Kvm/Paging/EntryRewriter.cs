using System.Buffers.Binary;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Kvm.Paging;

/// <summary>
/// Writes page-table entries from inside a machine: generates straight-line ring-0 code and runs it on a CPU that does nothing else, and is
/// there from the first time on. Called under the notifier's lock.
/// </summary>
internal sealed unsafe class EntryRewriter : IEntryRewriter, IDisposable
{
    // SAFETY: the run area of _vcpu lives until Dispose; code is written inside EngineArea.StubCode's span only.
    private const int BytesAnEntry = 15;

    private readonly EngineArea _area;
    private readonly IReadOnlyList<MemoryRegion> _writable;
    private readonly VmHandle _vm;
    private readonly int _index;
    private VcpuHandle? _vcpu;

    public EntryRewriter(VmHandle vm, int index, EngineArea area, IReadOnlyList<MemoryRegion> regions)
    {
        _vm = vm;
        _index = index;
        _area = area;
        _writable = [.. regions.Where(region => !region.IsReadOnly)];
    }

    /// <inheritdoc/>
    public bool CanReach(ulong entryAddress)
    {
        long frame = (long)(entryAddress >> 12);
        if (frame < _area.FrameCount)
            return true;
        for (int index = 0; index < _writable.Count; index++)
        {
            MemoryRegion region = _writable[index];
            if (frame >= region.First.Value && frame - region.First.Value < region.Frames)
                return true;
        }

        return false;
    }

    /// <inheritdoc/>
    public void Rewrite(ReadOnlySpan<ulong> plan)
    {
        Span<byte> code = _area.StubCode;
        int capacity = (code.Length - EngineArea.OutBytes) / BytesAnEntry;
        while (!plan.IsEmpty)
        {
            int count = Math.Min(plan.Length, capacity);
            Generate(code, plan[..count], _area);
            RunStub();
            plan = plan[count..];
        }
    }

    /// <inheritdoc/>
    public void DropEverything() => _vm.DropShadowPages(_area.HostAddress);

    /// <summary>`mov rdi, entry; lock or [rdi], 0` for each, then the exit. The locked OR keeps accessed and dirty bits that another CPU sets meanwhile.</summary>
    internal static void Generate(Span<byte> code, ReadOnlySpan<ulong> plan, EngineArea area)
    {
        foreach (ulong entry in plan)
        {
            bool drop = (entry & RewritePlan.DropTable) != 0;
            code[0] = 0x48;
            code[1] = 0xbf;
            BinaryPrimitives.WriteUInt64LittleEndian(code[2..], area.Alias(entry & ~RewritePlan.DropTable));
            code[10] = 0xf0;
            code[11] = drop ? (byte)0x66 : (byte)0x48;
            code[12] = 0x83;
            code[13] = 0x0f;
            code[14] = 0;
            code = code[BytesAnEntry..];
        }

        code[0] = 0xe6;
        code[1] = EngineArea.Port;
    }

    /// <inheritdoc/>
    public void Dispose() => _vcpu?.Dispose();

    private void RunStub()
    {
        VcpuHandle vcpu = _vcpu ??= CreateVcpu();
        vcpu.Regs->Rip = _area.StubEntry;
        vcpu.Regs->Rflags = 2;
        vcpu.MarkDirty(RunArea.Regs);
        int errno;
        do
        {
            errno = vcpu.Run();
        }
        while (errno is KvmCalls.ErrnoInterrupted or KvmCalls.ErrnoAgain);

        if (errno != 0 || vcpu.ExitReason != ExitReason.Io)
        {
            throw new EngineException(
                $"The page-table notification stub ended with errno {errno}, exit {vcpu.ExitReason}, at 0x{vcpu.Regs->Rip:x} (stub at 0x{_area.StubEntry:x}).",
                "Report this with the output of `tessera doctor --json`.");
        }
    }

    private VcpuHandle CreateVcpu()
    {
        VcpuHandle vcpu = _vm.CreateVcpu(_index);
        try
        {
            CpuSetup.ForRing0(vcpu, _area);
            return vcpu;
        }
        catch
        {
            vcpu.Dispose();
            throw;
        }
    }
}
