using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Grants;

/// <summary>Taking and giving back pins, by the rules of Xen's map_grant_ref and acquire_grant_for_copy.</summary>
internal sealed partial class GrantTable
{
    /// <summary>
    /// Takes a grant for a domain. Statuses are Xen's: BadDomain when the granter is going away, BadGntref beyond the table, BadPage for a frame that is not the
    /// granter's, GeneralError for an entry that does not grant this, to this domain, or to the limit of counts, or keeps changing.
    /// </summary>
    public GrantStatus TryPin(ushort grantee, uint reference, bool isReadOnly, GrantUse use, out GrantPin pin) =>
        TryPin(grantee, reference, isReadOnly, use, mayPassOn: use == GrantUse.Copy, out pin);

    /// <summary>Gives a pin back.</summary>
    public static void Unpin(in GrantPin pin)
    {
        pin.Behind?.Drop(pin.BehindReference, pin.IsReadOnly);
        pin.Table.Drop(pin.Reference, pin.IsReadOnly);
    }

    private GrantStatus TryPin(ushort grantee, uint reference, bool isReadOnly, GrantUse use, bool mayPassOn, out GrantPin pin)
    {
        pin = default;
        ushort behindDomain;
        uint behindReference;
        lock (_gate)
        {
            if (_closed)
                return GrantStatus.BadDomain;
            if (reference >= GrantEntries.CountIn(_version, _frameCount))
                return GrantStatus.BadGntref;
            ref ActiveGrant active = ref Active(reference);
            if (active.Pins != 0 && (active.Grantee != grantee || active.Readers >= MaxPins || active.Writers >= MaxPins || (use == GrantUse.Map && (active.IsSubPage || active.IsTransitive))))
                return GrantStatus.GeneralError;
            if (active.Pins != 0 && active.IsTransitive && !mayPassOn)
                return GrantStatus.GeneralError;
            GrantStatus status = Activate(ref active, grantee, reference, isReadOnly, use, mayPassOn);
            if (status != GrantStatus.Okay)
                return status;
            if (isReadOnly)
                active.Readers++;
            else
                active.Writers++;
            _pins++;
            _mapped++;
            pin = new GrantPin { Table = this, Reference = reference, IsReadOnly = isReadOnly, Offset = active.Offset, Length = active.Length, Frame = active.Frame };
            if (!active.IsTransitive)
                return GrantStatus.Okay;
            (behindDomain, behindReference) = (active.BehindDomain, active.BehindReference);
        }

        // The grant behind must be made out to the domain that passes it on, and may not itself be passed on: chains and loops end here.
        GrantPin behind = default;
        GrantStatus found = behindDomain == _domain.Value || _directory.FindGrants(behindDomain) is not GrantTable other
            ? GrantStatus.GeneralError
            : other.TryPin(_domain.Value, behindReference, isReadOnly, GrantUse.Copy, mayPassOn: false, out behind);
        if (found != GrantStatus.Okay)
        {
            Drop(reference, isReadOnly);
            pin = default;
            return found;
        }

        (pin.Behind, pin.BehindReference, pin.Frame, pin.Offset, pin.Length) = (behind.Table, behindReference, behind.Frame, behind.Offset, behind.Length);
        return GrantStatus.Okay;
    }

    // First use of the entry, or its first use for writing: marks it in the guest's table and takes the frame.
    private GrantStatus Activate(ref ActiveGrant active, ushort grantee, uint reference, bool isReadOnly, GrantUse use, bool mayPassOn)
    {
        bool first = active.Pins == 0;
        if (!first && (isReadOnly || active.Writers > 0))
            return GrantStatus.Okay;
        GrantEntryFlags marks = isReadOnly ? GrantEntryFlags.Reading : GrantEntryFlags.Reading | GrantEntryFlags.Writing;
        GrantStatus status = _version == 1
            ? MarkVersion1(first, grantee, reference, marks)
            : MarkVersion2(first, grantee, reference, marks, use);
        if (status != GrantStatus.Okay)
            return status;
        if (first)
        {
            status = Describe(out active, grantee, reference);
            // The guest may have changed the entry's kind since it was marked.
            if ((active.IsTransitive && !mayPassOn) || (active.IsSubPage && use == GrantUse.Map))
                status = GrantStatus.GeneralError;
        }

        if (status == GrantStatus.Okay && !active.IsTransitive)
            status = TakeFrame(active.Frame, first, !isReadOnly);
        if (status != GrantStatus.Okay)
            _entries.ClearUse(_version, reference, first ? marks : GrantEntryFlags.Writing);
        return status;
    }

    private GrantStatus MarkVersion1(bool first, ushort grantee, uint reference, GrantEntryFlags marks)
    {
        uint header = _entries.Header(1, reference);
        for (int retry = 0; retry < MaxRetries; retry++)
        {
            GrantEntryFlags flags = (GrantEntryFlags)header;
            if (first && ((flags & GrantEntryFlags.TypeMask) != GrantEntryFlags.PermitAccess || (ushort)(header >> 16) != grantee))
                return GrantStatus.GeneralError;
            if ((marks & GrantEntryFlags.Writing) != 0 && (flags & GrantEntryFlags.Readonly) != 0)
                return GrantStatus.GeneralError;
            uint seen = _entries.ExchangeHeader(reference, header | (uint)marks, header);
            if (seen == header)
                return GrantStatus.Okay;
            header = seen;
        }

        return GrantStatus.GeneralError;
    }

    // The status word lies beside the entry: it is marked first, and then the entry must still say what it said.
    private GrantStatus MarkVersion2(bool first, ushort grantee, uint reference, GrantEntryFlags marks, GrantUse use)
    {
        if (!Allows(_entries.Header(2, reference), first, grantee, marks, use))
            return GrantStatus.GeneralError;
        _entries.SetStatus(reference, marks);
        Interlocked.MemoryBarrier();
        if (Allows(_entries.Header(2, reference), first, grantee, marks, use))
            return GrantStatus.Okay;
        _entries.ClearUse(2, reference, first ? marks : GrantEntryFlags.Writing);
        return GrantStatus.GeneralError;
    }

    private static bool Allows(uint header, bool first, ushort grantee, GrantEntryFlags marks, GrantUse use)
    {
        GrantEntryFlags flags = (GrantEntryFlags)header;
        if ((marks & GrantEntryFlags.Writing) != 0 && (flags & GrantEntryFlags.Readonly) != 0)
            return false;
        if (!first)
            return true;
        GrantEntryFlags type = flags & GrantEntryFlags.TypeMask;
        bool right = type == GrantEntryFlags.PermitAccess
            ? use == GrantUse.Copy || (flags & GrantEntryFlags.SubPage) == 0
            : type == GrantEntryFlags.Transitive && use == GrantUse.Copy;
        return right && (ushort)(header >> 16) == grantee;
    }

    // Reads the entry once into the VMM's own account; from then on only that counts.
    private GrantStatus Describe(out ActiveGrant active, ushort grantee, uint reference)
    {
        active = new ActiveGrant { Grantee = grantee, Length = PageBytes, Frame = Mfn.None };
        if (_version == 2)
        {
            GrantEntryFlags flags = (GrantEntryFlags)_entries.Header(2, reference);
            if ((flags & GrantEntryFlags.TypeMask) == GrantEntryFlags.Transitive)
            {
                (active.BehindDomain, active.BehindReference) = _entries.Transitive(reference);
                active.IsTransitive = true;
                return GrantStatus.Okay;
            }

            if ((flags & GrantEntryFlags.SubPage) != 0)
            {
                (active.Offset, active.Length) = _entries.SubPage(reference);
                active.IsSubPage = true;
                if (active.Offset + active.Length > PageBytes)
                    return GrantStatus.GeneralError;
            }
        }

        ulong frame = _entries.Frame(_version, reference);
        active.Frame = frame <= long.MaxValue >> 12 ? new Mfn((long)frame) : Mfn.None;
        return GrantStatus.Okay;
    }

    private GrantStatus TakeFrame(Mfn frame, bool first, bool forWriting)
    {
        if (first && !_frames.TakeReference(frame))
            return GrantStatus.BadPage;
        if (!forWriting || _writes.TryBegin(frame))
            return GrantStatus.Okay;
        if (first)
            _frames.DropReference(frame);
        return GrantStatus.GeneralError;
    }

    private void Drop(uint reference, bool isReadOnly)
    {
        Action? lastUnpinned;
        lock (_gate)
        {
            ref ActiveGrant active = ref Active(reference);
            ref int count = ref (isReadOnly ? ref active.Readers : ref active.Writers);
            if (count == 0)
                throw new InvalidOperationException($"Grant {reference} of {_domain} is not pinned for {(isReadOnly ? "reading" : "writing")}.");
            count--;
            GrantEntryFlags cleared = (isReadOnly || active.Writers > 0 ? GrantEntryFlags.Invalid : GrantEntryFlags.Writing) | (active.Pins > 0 ? GrantEntryFlags.Invalid : GrantEntryFlags.Reading);
            if (!active.IsTransitive)
                DropFrame(active.Frame, (cleared & GrantEntryFlags.Writing) != 0, active.Pins == 0);
            // The frame is let go before the guest can see that it is.
            if (cleared != GrantEntryFlags.Invalid)
                _entries.ClearUse(_version, reference, cleared);
            lastUnpinned = DropPin();
        }

        lastUnpinned?.Invoke();
    }

    private void DropFrame(Mfn frame, bool lastWriter, bool last)
    {
        try
        {
            if (lastWriter)
                _writes.End(frame);
            if (last)
                _frames.DropReference(frame);
        }
        catch (InvalidOperationException)
        {
            // A guest that can write its own page tables can make any count of its frames wrong. They are still its own, and it pays at its end.
            HadFalseAccounts = true;
        }
    }
}
