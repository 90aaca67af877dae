using FsCheck;
using FsCheck.Fluent;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>Random operations of three domains on each other's grants, against a small model of Xen's rules; after each the marks, the slots and the types must be the model's.</summary>
internal sealed class GrantModelTests
{
    [Test]
    public void Random_operations_answer_and_leave_what_Xens_rules_say() =>
        Prop.ForAll(ArbMap.Default.ArbFor<uint[]>(), steps => new Run().Play(steps)).Check(Config.QuickThrowOnFailure.WithMaxTest(60).WithEndSize(400));

    private sealed class Run
    {
        private const int Domains = 3;
        private const int References = 4;
        private const int FirstReference = 8;
        private const int FirstTarget = 300;

        private readonly HandMachine _machine = new();
        private readonly HandDomain[] _domains;
        private readonly bool[] _dead = new bool[Domains];
        private readonly bool[][] _isTable = [.. Enumerable.Range(0, Domains).Select(_ => new bool[References])];
        private readonly Entry[][] _entries = [.. Enumerable.Range(0, Domains).Select(_ => new Entry[References])];
        private readonly Use[][] _uses = [.. Enumerable.Range(0, Domains).Select(_ => new Use[References])];
        private readonly List<Mapping> _mappings = [];
        private int _nextTarget = FirstTarget;

        public Run()
        {
            _domains = [_machine.Create(), _machine.Create(), _machine.Create()];
            foreach (HandDomain domain in _domains)
            {
                for (int page = 0; page < References; page++)
                    domain.Clear(HandDomain.FreePage + page);
            }
        }

        public bool Play(uint[] steps)
        {
            using HandMachine machine = _machine;
            foreach (uint step in steps)
            {
                // Neighbouring numbers must not do alike.
                uint random = step * 2_654_435_761u;
                random ^= random >> 15;
                Act(random & 7, (int)(random >> 3) % Domains, (int)(random >> 8) % Domains, (int)(random >> 13) % References, random >> 18);
                Check();
            }

            foreach (HandDomain domain in _domains)
                _machine.Machine.Destroy(domain.Domain);
            return Expect(0L, _machine.Machine.Frames.AssignedFrames, "frames left");
        }

        private void Act(uint operation, int actor, int other, int reference, uint detail)
        {
            if (_dead[actor])
                return;
            switch (operation)
            {
                case 0 or 1:
                    SetEntry(actor, other, reference, detail);
                    break;
                case 2 or 3:
                    Map(actor, other, reference, isReadOnly: (detail & 1) != 0);
                    break;
                case 4:
                    Unmap(actor, detail);
                    break;
                case 5:
                    Copy(actor, other, reference, toGrant: (detail & 1) != 0);
                    break;
                case 6:
                    if ((detail & 3) == 0)
                        SetVersion(actor);
                    else
                        ToggleTable(actor, reference);
                    break;
                default:
                    if (detail % 8 == 0)
                        Destroy(actor);
                    break;
            }
        }

        private void SetEntry(int granter, int grantee, int reference, uint detail)
        {
            // A number under which it may have mapped another's grant, one time in eight.
            bool isOwn = detail % 8 != 0;
            int page = (int)(detail >> 3) % References;
            bool isReadOnly = (detail & 0x40) != 0, isValid = (detail & 0x180) != 0;
            Entry entry = new(isValid, grantee, isReadOnly, isOwn, page);
            _entries[granter][reference] = entry;
            GrantEntryFlags flags = (isValid ? GrantEntryFlags.PermitAccess : GrantEntryFlags.Invalid) | (isReadOnly ? GrantEntryFlags.Readonly : GrantEntryFlags.Invalid);
            // An honest guest keeps the marks of a grant in use when it changes an entry of version 1.
            if (_domains[granter].Domain.Grants.Version == 1)
                flags |= Marks(_uses[granter][reference]);
            _domains[granter].Grant((uint)(FirstReference + reference), _domains[grantee].Id, (isOwn ? _domains[granter].Frame(HandDomain.FreePage + page) : _domains[granter].Domain.Memory.ForeignFrame(page)).Value, flags);
        }

        private void Map(int grantee, int granter, int reference, bool isReadOnly)
        {
            if (_nextTarget >= 480)
                return;
            GrantStatus expected = Predict(grantee, granter, reference, isReadOnly);
            int target = _nextTarget;
            MapOperation map = _domains[grantee].MapAt(_domains[granter], (uint)(FirstReference + reference), target, isReadOnly);
            _ = Expect(expected, map.Status, "map");
            if (expected != GrantStatus.Okay)
                return;
            _nextTarget++;
            Take(grantee, granter, reference, isReadOnly);
            _mappings.Add(new Mapping(grantee, granter, reference, isReadOnly, map.Handle, target));
        }

        private void Unmap(int grantee, uint detail)
        {
            int index = _mappings.FindIndex(mapping => mapping.Grantee == grantee && (detail & 1) == 0);
            if (index < 0)
            {
                uint handle = 5000 + (detail % 5000);
                _ = Expect(GrantStatus.BadHandle, _domains[grantee].Unmap(handle, _domains[grantee].Address(FirstTarget)), "unmap of nothing");
                return;
            }

            Mapping found = _mappings[index];
            // One time in four the wrong address.
            if ((detail & 6) == 2)
            {
                _ = Expect(GrantStatus.GeneralError, _domains[grantee].Unmap(found.Handle, _domains[grantee].Address(HandDomain.FreePage + 60)), "unmap elsewhere");
                return;
            }

            _ = Expect(GrantStatus.Okay, _domains[grantee].Unmap(found.Handle, _domains[grantee].Address(found.Target)), "unmap");
            _mappings.RemoveAt(index);
            Drop(found);
        }

        private void Copy(int actor, int granter, int reference, bool toGrant)
        {
            GrantStatus expected = Predict(actor, granter, reference, isReadOnly: !toGrant);
            ulong own = (ulong)_domains[actor].Frame(490).Value, grant = (ulong)(FirstReference + reference);
            CopyOperation copy = toGrant
                ? new() { Source = own, SourceDomain = DomainIds.Self, Destination = grant, DestinationDomain = _domains[granter].Id, Flags = GrantCopyFlags.DestGref, Length = 8 }
                : new() { Source = grant, SourceDomain = _domains[granter].Id, Destination = own, DestinationDomain = DomainIds.Self, Flags = GrantCopyFlags.SourceGref, Length = 8 };
            _ = Expect(expected, _domains[actor].Copy(copy), "copy");
        }

        private void SetVersion(int actor)
        {
            bool busy = Enumerable.Range(0, References).Any(reference => _uses[actor][reference].Pins > 0);
            uint version = 3 - (uint)_domains[actor].Domain.Grants.Version;
            _ = Expect(busy ? -(long)XenErrno.EBUSY : 0, _domains[actor].SetVersion(version), "version");
            for (int reference = 0; !busy && reference < References; reference++)
                _entries[actor][reference] = default;
        }

        private void ToggleTable(int actor, int page)
        {
            Mfn frame = _domains[actor].Frame(HandDomain.FreePage + page);
            IDomainMmu mmu = _domains[actor].Domain.Mmu;
            if (_isTable[actor][page])
            {
                _ = Expect(XenErrno.Success, mmu.Extended(0, (uint)MmuExtOp.UnpinTable, frame, Mfn.None), "unpin");
                _isTable[actor][page] = false;
                return;
            }

            bool isWritten = IsWritten(actor, page);
            _ = Expect(!isWritten, mmu.Extended(0, (uint)MmuExtOp.PinL1Table, frame, Mfn.None) == XenErrno.Success, "a page that is mapped writable becomes no table");
            _isTable[actor][page] = !isWritten;
        }

        private void Destroy(int actor)
        {
            _machine.Machine.Destroy(_domains[actor].Domain);
            _dead[actor] = true;
            foreach (Mapping mapping in _mappings.Where(mapping => mapping.Grantee == actor))
                Drop(mapping);
            _ = _mappings.RemoveAll(mapping => mapping.Grantee == actor);
        }

        private bool IsWritten(int owner, int page) => Enumerable.Range(0, References)
            .Any(reference => _uses[owner][reference] is { Writers: > 0 } use && use.Page == page);

        private GrantStatus Predict(int grantee, int granter, int reference, bool isReadOnly)
        {
            if (_dead[granter])
                return GrantStatus.BadDomain;
            Use use = _uses[granter][reference];
            Entry entry = _entries[granter][reference];
            if (use.Pins > 0 && use.Grantee != grantee)
                return GrantStatus.GeneralError;
            if (use.Pins > 0 && (isReadOnly || use.Writers > 0))
                return GrantStatus.Okay;
            if (use.Pins == 0 && (!entry.IsValid || entry.Grantee != grantee))
                return GrantStatus.GeneralError;
            if (!isReadOnly && entry.IsReadOnly)
                return GrantStatus.GeneralError;
            if (use.Pins == 0 && !entry.IsOwn)
                return GrantStatus.BadPage;
            return !isReadOnly && _isTable[granter][use.Pins > 0 ? use.Page : entry.Page] ? GrantStatus.GeneralError : GrantStatus.Okay;
        }

        private void Take(int grantee, int granter, int reference, bool isReadOnly)
        {
            ref Use use = ref _uses[granter][reference];
            if (use.Pins == 0)
                (use.Grantee, use.Page) = (grantee, _entries[granter][reference].Page);
            if (isReadOnly)
                use.Readers++;
            else
                use.Writers++;
        }

        private void Drop(Mapping mapping)
        {
            ref Use use = ref _uses[mapping.Granter][mapping.Reference];
            if (mapping.IsReadOnly)
                use.Readers--;
            else
                use.Writers--;
        }

        private static GrantEntryFlags Marks(Use use) =>
            (use.Pins > 0 ? GrantEntryFlags.Reading : GrantEntryFlags.Invalid) | (use.Writers > 0 ? GrantEntryFlags.Writing : GrantEntryFlags.Invalid);

        private void Check()
        {
            for (int domain = 0; domain < Domains; domain++)
            {
                if (_dead[domain])
                    continue;
                long pins = 0;
                for (int reference = 0; reference < References; reference++)
                {
                    _ = Expect(Marks(_uses[domain][reference]), _domains[domain].Use((uint)(FirstReference + reference)), "marks");
                    pins += _uses[domain][reference].Pins;
                    Mfn frame = _domains[domain].Frame(HandDomain.FreePage + reference);
                    FrameType type = _isTable[domain][reference] ? FrameType.L1 : IsWritten(domain, reference) ? FrameType.Writable : FrameType.None;
                    _ = Expect(type, _domains[domain].Domain.Frames.TypeOf(frame).Type, "type");
                }

                _ = Expect(pins, _domains[domain].Domain.Grants.Pins, "pins");
                Dictionary<Mfn, (nint Page, bool IsReadOnly)> shown = [];
                foreach (Mapping mapping in _mappings.Where(mapping => mapping.Grantee == domain && mapping.Granter != domain))
                {
                    nint page = _domains[mapping.Granter].HostAddress(HandDomain.FreePage + _uses[mapping.Granter][mapping.Reference].Page);
                    shown.Add(_domains[domain].Domain.Memory.ForeignFrame((int)mapping.Handle), (page, mapping.IsReadOnly));
                }

                _ = Expect(true, shown.Count == _domains[domain].GuestMachine.Shown.Count && !shown.Except(_domains[domain].GuestMachine.Shown).Any(), "frames shown");
            }
        }

        private static bool Expect<T>(T expected, T found, string what) =>
            EqualityComparer<T>.Default.Equals(expected, found) ? true : throw new InvalidOperationException($"{what}: {expected} expected, {found} found");

        private readonly record struct Entry(bool IsValid, int Grantee, bool IsReadOnly, bool IsOwn, int Page);

        private readonly record struct Mapping(int Grantee, int Granter, int Reference, bool IsReadOnly, uint Handle, int Target);

        private struct Use
        {
            public int Grantee;
            public int Page;
            public int Readers;
            public int Writers;

            public readonly int Pins => Readers + Writers;
        }
    }
}
