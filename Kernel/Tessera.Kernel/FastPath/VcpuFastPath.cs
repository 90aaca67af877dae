using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.FastPath;

/// <summary>
/// One vCPU's fast paths: opened before it runs in kernel mode on a root that shows them, and after each exit what they did is taken over
/// before anything else looks at the domain.
/// </summary>
/// <remarks>
/// Values and log are the guest's word. A kernel stack or GS base is as good as one given by hypercall: they are checked where they are
/// used. A log entry that the MMU would not have allowed ends the domain.
/// </remarks>
internal sealed unsafe class VcpuFastPath : IVcpuAccelerator
{
    // SAFETY: _guest points to this vCPU's pages of FastPathMemory, which outlive the vCPU; each word is read once.
    private readonly Vcpu _vcpu;
    private readonly DomainFastPath _domain;
    private readonly ISyscallInterception _interception;
    private readonly FastPathCode _code;
    private readonly ulong _entry;
    private readonly byte* _guest;

    public VcpuFastPath(Vcpu vcpu, DomainFastPath domain, ISyscallInterception interception)
    {
        (_vcpu, _domain, _interception) = (vcpu, domain, interception);
        FastPathPlaces places = Memory.PlacesOf(Index, interception.Exit);
        _code = FastPathCode.For(domain.Codes, places);
        Span<byte> page = Memory.Code(Index);
        page.Fill(0xcc);
        _code.Bytes.CopyTo(page);
        _entry = places.Code;
        _guest = Memory.Guest(Index);
        interception.Declare(_entry, _code.Bytes.Length);
    }

    /// <summary>The domain's memory for it.</summary>
    public FastPathMemory Memory => _domain.Memory;

    /// <summary>The vCPU's number.</summary>
    public int Index => _vcpu.Index;

    /// <summary>The kernel root that shows the fast paths; none for "closed".</summary>
    public Mfn Root { get; set; } = Mfn.None;

    /// <summary>Entries taken over so far.</summary>
    public long Adopted { get; private set; }

    /// <inheritdoc/>
    public void BeforeRun()
    {
        // In the middle of a trap's delivery everything stays as it was when it began.
        if (_vcpu.MidDelivery)
            return;
        _interception.Entry = !_vcpu.Context.UserMode && Root != Mfn.None && _vcpu.Cpu.State.Root == Root ? _entry : _interception.Exit;
        *(ulong*)(_guest + FastPathLayout.KernelStack) = _vcpu.Context.KernelStack;
        *(ulong*)(_guest + FastPathLayout.UserGsBase) = _vcpu.Context.GsBaseUser;
    }

    /// <inheritdoc/>
    public bool AfterRun()
    {
        if (_vcpu.Context.UserMode)
            return true;
        _vcpu.Context.KernelStack = Volatile.Read(ref *(ulong*)(_guest + FastPathLayout.KernelStack));
        _vcpu.Context.GsBaseUser = Volatile.Read(ref *(ulong*)(_guest + FastPathLayout.UserGsBase));
        uint count = Volatile.Read(ref *(uint*)(_guest + FastPathLayout.LogCount));
        return count == 0 || Adopt(count);
    }

    /// <inheritdoc/>
    public bool TryRestart()
    {
        ref GuestCpuState state = ref _vcpu.Cpu.State;
        bool isUpdate = state.Rip >= _code.UpdateReads && state.Rip < _code.UpdateReadsEnd;
        if (_vcpu.Context.UserMode || (!isUpdate && state.Rip != _code.ExtendedRead))
            return false;
        state.Rax = (ulong)(isUpdate ? Hypercall.MmuUpdate : Hypercall.MmuextOp);
        (state.Rsi, state.Rdx, state.R10) = (1, 0, DomainIds.Self);
        (state.Rip, state.Rflags) = (state.Rcx, state.R11);
        return true;
    }

    /// <inheritdoc/>
    public void RootChanged(bool userMode)
    {
        if (userMode)
            _domain.OnUserRoot(this);
        else
            _domain.OnKernelRoot(this);
    }

    /// <inheritdoc/>
    public void TypeChanged(Mfn frame, FrameType type) => Memory.TypeChanged(frame, type);

    /// <inheritdoc/>
    public void Dispose() => Memory.Dispose();

    private bool Adopt(uint count)
    {
        *(uint*)(_guest + FastPathLayout.LogCount) = 0;
        if (count > FastPathLayout.LogEntries)
        {
            _vcpu.Domain.Crash(_vcpu, $"its fast-path log claims {count} entries of {FastPathLayout.LogEntries}: the guest wrote it itself");
            return false;
        }

        ulong* log = (ulong*)(_guest + FastPathLayout.Log);
        lock (_vcpu.Domain.Gate)
        {
            for (uint index = 0; index < count; index++)
            {
                ulong address = Volatile.Read(ref log[2 * index]);
                ulong value = Volatile.Read(ref log[(2 * index) + 1]);
                if (_domain.Adopter.TryAdopt(address, value))
                    continue;
                _vcpu.Domain.Crash(_vcpu, $"its fast-path log claims entry 0x{value:x} at machine address 0x{address:x}, which no update would have left there");
                return false;
            }
        }

        Adopted += count;
        return true;
    }
}
