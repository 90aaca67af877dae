using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>
/// The one door to guest memory by guest address: every byte goes through the domain's own page tables with the guest's own rights.
/// Structures are copied before they are looked at, since another vCPU may change them meanwhile.
/// </summary>
internal sealed unsafe class GuestMemory(DomainMemory memory, IDomainMmu mmu)
{
    /// <summary>Copies from the guest; false when a page is not mapped.</summary>
    public bool TryRead(int vcpu, bool userMode, ulong address, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            if (!Page(vcpu, userMode, address, forWriting: false, destination.Length, out Span<byte> page))
                return false;
            page.CopyTo(destination);
            destination = destination[page.Length..];
            address += (ulong)page.Length;
        }

        return true;
    }

    /// <summary>Copies to the guest; false when a page is not mapped writable, with the pages before it written.</summary>
    public bool TryWrite(int vcpu, bool userMode, ulong address, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            if (!Page(vcpu, userMode, address, forWriting: true, source.Length, out Span<byte> page))
                return false;
            source[..page.Length].CopyTo(page);
            source = source[page.Length..];
            address += (ulong)page.Length;
        }

        return true;
    }

    /// <summary>Copies one value from the guest kernel's memory.</summary>
    public bool TryRead<T>(int vcpu, ulong address, out T value)
        where T : unmanaged
    {
        Unsafe.SkipInit(out value);
        return TryRead(vcpu, userMode: false, address, MemoryMarshal.AsBytes(new Span<T>(ref value)));
    }

    /// <summary>Copies one value to the guest kernel's memory.</summary>
    public bool TryWrite<T>(int vcpu, ulong address, T value)
        where T : unmanaged =>
        TryWrite(vcpu, userMode: false, address, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)));

    private bool Page(int vcpu, bool userMode, ulong address, bool forWriting, int wanted, out Span<byte> bytes)
    {
        bytes = default;
        if (!mmu.Translate(vcpu, userMode, new VirtualAddress(address), forWriting, out ulong machineAddress) || !memory.Has(Mfn.FromEntry(machineAddress)))
            return false;
        int length = Math.Min(wanted, 4096 - (int)(machineAddress & 4095));
        // SAFETY: the frame is in the domain's run and the length stays inside the page.
        bytes = new Span<byte>(memory.At(machineAddress), length);
        return true;
    }
}
