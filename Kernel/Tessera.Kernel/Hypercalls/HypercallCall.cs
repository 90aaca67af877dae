using Tessera.Kernel.Domains;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Hypercalls;

/// <summary>One hypercall under way: who calls, with what, and how it ends. A long one stops between steps and is called again by the guest itself.</summary>
internal struct HypercallCall
{
    public Vcpu Vcpu;
    public IPcpu Pcpu;
    public int Number;
    public ulong A0;
    public ulong A1;
    public ulong A2;
    public ulong A3;
    public ulong A4;
    public ulong A5;

    /// <summary>A call inside a multicall.</summary>
    public bool IsNested;

    /// <summary>The handler stopped early with changed arguments: the guest repeats the call.</summary>
    public bool Continues;

    /// <summary>The handler set the guest's registers itself; RAX is not written.</summary>
    public bool KeepsRegisters;

    /// <summary>What the physical CPU does next.</summary>
    public TrapOutcome Outcome;

    public readonly Domain Domain => Vcpu.Domain;

    /// <summary>Whether a long handler should stop now: somebody else's turn has come.</summary>
    public readonly bool ShouldStop => Pcpu.ShouldLeaveGuest;

    /// <summary>Does what the domain's MMU has left to do, as long as it is nobody else's turn.</summary>
    /// <returns>False when some is left: the handler stops, and is called again later.</returns>
    public readonly bool FinishMmuWork() => !Domain.Mmu.HasWork || Pcpu.FinishMmuWork(Domain);

    /// <summary>Copies a structure from the guest kernel's memory.</summary>
    public readonly bool TryRead<T>(ulong address, out T value)
        where T : unmanaged => Domain.Guest.TryRead(Vcpu.Index, address, out value);

    /// <summary>Copies a structure to the guest kernel's memory.</summary>
    public readonly bool TryWrite<T>(ulong address, T value)
        where T : unmanaged => Domain.Guest.TryWrite(Vcpu.Index, address, value);

    /// <summary>Whether a domain number means the caller.</summary>
    public readonly bool IsSelf(ushort domain) => domain == DomainIds.Self || domain == Domain.Id.Value;

    /// <summary>What a guest, which controls nobody, gets for another domain: EPERM where there is one, or for the VMM itself, which is 0; ESRCH else.</summary>
    public readonly XenErrno RefusalFor(ushort domain) =>
        domain == 0 || (domain < DomainIds.FirstReserved && Domain.Grants.Find(domain) is not null) ? XenErrno.EPERM : XenErrno.ESRCH;

    /// <summary>Whether an address may be a guest's at all: canonical, and not the hypervisor's.</summary>
    public static bool IsGuestAddress(ulong address) =>
        new VirtualAddress(address).IsCanonical && address is not (>= HypervisorRange.Start and < HypervisorRange.End);

    /// <summary>An error as the guest gets it.</summary>
    public static long Error(XenErrno error) => -(long)error;
}

/// <summary>A hypercall's implementation.</summary>
internal delegate long HypercallHandler(ref HypercallCall call);
