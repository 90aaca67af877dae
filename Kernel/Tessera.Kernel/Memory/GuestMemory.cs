using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>
/// Guest memory by guest address: every byte goes through the domain's own page tables with the guest's own rights, and what is written through <see cref="GuestWrites"/>.
/// Structures are copied before they are looked at, since another vCPU may change them meanwhile.
/// </summary>
internal sealed class GuestMemory(DomainMemory memory, GuestWrites writes, IDomainMmu mmu)
{
    /// <summary>Copies from the guest; false when a page is not mapped.</summary>
    public bool TryRead(int vcpu, bool userMode, ulong address, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            if (!Find(vcpu, userMode, address, forWriting: false, destination.Length, out ulong machineAddress, out int length))
                return false;
            memory.Frame(PageTableEntry.FrameOf(machineAddress)).Slice((int)(machineAddress & 4095), length).CopyTo(destination);
            destination = destination[length..];
            address += (ulong)length;
        }

        return true;
    }

    /// <summary>Copies to the guest; false when a page is not mapped writable, with the pages before it written.</summary>
    public bool TryWrite(int vcpu, bool userMode, ulong address, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            if (!Find(vcpu, userMode, address, forWriting: true, source.Length, out ulong machineAddress, out int length) || !writes.TryWrite(machineAddress, source[..length]))
                return false;
            source = source[length..];
            address += (ulong)length;
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

    private bool Find(int vcpu, bool userMode, ulong address, bool forWriting, int wanted, out ulong machineAddress, out int length)
    {
        length = 0;
        if (!mmu.Translate(vcpu, userMode, new VirtualAddress(address), forWriting, out machineAddress) || !memory.Has(PageTableEntry.FrameOf(machineAddress)))
            return false;
        length = Math.Min(wanted, 4096 - (int)(machineAddress & 4095));
        return true;
    }
}
