using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Grants;

/// <summary>
/// Frames of other domains that one domain's machine shows now: a memory slot of exactly that frame each, read-only unless a writable mapping is held, gone with the
/// last. This holds whatever is in the domain's page tables.
/// </summary>
internal sealed class ForeignFrames(DomainMemory memory, IGuestMachine guestMachine)
{
    private readonly Dictionary<Mfn, (int Readers, int Writers)> _shown = [];

    /// <summary>One mapping more.</summary>
    /// <returns>GeneralError when the engine cannot show foreign frames, NoSpace when it has no room for another.</returns>
    public GrantStatus Take(in GrantPin pin)
    {
        if (memory.Has(pin.Frame))
            return GrantStatus.Okay;
        if (guestMachine is not IShowsForeignFrames machine)
            return GrantStatus.GeneralError;
        (int readers, int writers) = _shown.GetValueOrDefault(pin.Frame);
        bool isShown = readers + writers > 0;
        bool mustShow = !isShown || (writers == 0 && !pin.IsReadOnly);
        if (mustShow)
        {
            if (isShown)
                machine.Hide(pin.Frame);
            if (!machine.TryShow(Region(in pin, pin.IsReadOnly)))
                return GrantStatus.NoSpace;
        }

        _shown[pin.Frame] = pin.IsReadOnly ? (readers + 1, writers) : (readers, writers + 1);
        return GrantStatus.Okay;
    }

    /// <summary>One mapping less; its entry is gone already, its pin still held.</summary>
    public void Drop(in GrantPin pin)
    {
        if (memory.Has(pin.Frame))
            return;
        IShowsForeignFrames machine = (IShowsForeignFrames)guestMachine;
        (int readers, int writers) = _shown[pin.Frame];
        (int Readers, int Writers) left = pin.IsReadOnly ? (readers - 1, writers) : (readers, writers - 1);
        bool isLast = left is (0, 0);
        if (isLast || (left.Writers == 0 && writers > 0))
        {
            machine.Hide(pin.Frame);
            // The slot that was just given back is free, so that there is one.
            if (!isLast)
                _ = machine.TryShow(Region(in pin, isReadOnly: true));
        }

        if (isLast)
            _ = _shown.Remove(pin.Frame);
        else
            _shown[pin.Frame] = left;
    }

    private static unsafe MemoryRegion Region(in GrantPin pin, bool isReadOnly) =>
        // SAFETY: the pin keeps the page mapped, and the region is taken away before the last pin on it is given back, or dies with the machine before.
        new(pin.Frame, 1, (nint)pin.Address, isReadOnly);
}
