using Tessera.Plugins.Cpu.Software.Memory;

namespace Tessera.Plugins.Cpu.Software;

// Page-table roots: a state block with TLB and jump cache for each that was used lately.
internal sealed unsafe partial class SoftwareCpu
{
    // SAFETY: tables are read where GuestFrames says that their frames are.
    private const int MostContexts = 12;
    private const ulong Present = 1;
    private const ulong AccessedBit = 0x20;
    private const int FirstKernelSlot = 272;
    private const int Slots = 512;

    private RootContext? _before;

    private void Switch(long root)
    {
        if (_context.Root != root)
        {
            // The user's and the kernel's root of a process follow each other.
            RootContext context = _before?.Root == root ? _before : ContextOf(root);
            _before = _context;
            context[StateBlock.Mxcsr] = _context[StateBlock.Mxcsr];
            _context = context;
        }

        _context.Used = ++_tick;
        if (_context.Epoch != _machine.Epoch)
        {
            _context.Flush();
            _context.Epoch = _machine.Epoch;
        }

        FollowCode();
    }

    /// <summary>Drops the targets of jumps if code has changed.</summary>
    private void FollowCode()
    {
        if (_context.CodeEpoch != _machine.CodeEpoch)
            _context.FlushJumps();
        else if (_context.LowerCodeEpoch != _machine.LowerCodeEpoch)
            _context.FlushLowerJumps();
        (_context.CodeEpoch, _context.LowerCodeEpoch) = (_machine.CodeEpoch, _machine.LowerCodeEpoch);
    }

    private RootContext ContextOf(long root)
    {
        RootContext? oldest = null;
        foreach (RootContext context in _contexts)
        {
            if (context.Root == root)
                return context;
            if (context != _context && (oldest is null || context.Used < oldest.Used))
                oldest = context;
        }

        if (_contexts.Count < MostContexts && (oldest is null || oldest.Root >= 0))
            oldest = NewContext();
        oldest!.Flush();
        oldest.Root = root;
        oldest.Epoch = _machine.Epoch;
        (oldest.CodeEpoch, oldest.LowerCodeEpoch) = (_machine.CodeEpoch, _machine.LowerCodeEpoch);
        if (FindWithSameKernel(oldest) is { } other)
        {
            // As if it had been walked: its entries are told when they change.
            _machine.Frames.MarkUpperTable((ulong)root << 12);
            oldest.TakeUpper(other);
        }

        return oldest;
    }

    /// <summary>The root used last that has the same tables in the kernel's half, if there is one.</summary>
    private RootContext? FindWithSameKernel(RootContext fresh)
    {
        ulong* table = (ulong*)_machine.Frames.At((ulong)fresh.Root << 12);
        if (table == null || (table[FirstKernelSlot] & Present) == 0)
            return null;
        RootContext? best = null;
        foreach (RootContext context in _contexts)
        {
            if (context == fresh || context.Root < 0 || context.Epoch != _machine.Epoch || context.CodeEpoch != _machine.CodeEpoch || context.Used <= (best?.Used ?? -1))
                continue;
            ulong* other = (ulong*)_machine.Frames.At((ulong)context.Root << 12);
            if (other != null && HaveSameKernel(table, other))
                best = context;
        }

        return best;
    }

    private static bool HaveSameKernel(ulong* table, ulong* other)
    {
        for (int slot = FirstKernelSlot; slot < Slots; slot++)
        {
            if (((table[slot] ^ other[slot]) & ~AccessedBit) != 0)
                return false;
        }

        return true;
    }

    private RootContext NewContext()
    {
        RootContext context = new(_vectors) { OnePage = _machine.Features.OnePage };
        _contexts.Add(context);
        return context;
    }
}
