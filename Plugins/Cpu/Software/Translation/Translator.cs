using System.Diagnostics;
using Iced.Intel;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>
/// Translates guest code block by block: decodes up to the end of the page or a jump that is always taken, finds out which flags are
/// wanted, and writes the same instructions with other registers and checked addresses. Code names guest addresses by their distance from the start of
/// its page. A generation of the <see cref="CodeStore"/>: what is written is never changed but for jumps that are linked, and is run by many threads; one
/// at a time translates.
/// </summary>
internal sealed unsafe partial class Translator : IDisposable
{
    // SAFETY: code is written into the arena between its start and its limit, by whoever holds the gate; guest code is read from copies of pages, or from pages that the caller has walked.

    /// <summary>Host threads that run guests.</summary>
    public const int MostThreads = 512;

    /// <summary>A block's first instructions, for whoever comes from another page with its address in R11; jumps inside the page skip them.</summary>
    public const int ArrivalBytes = 12;

    private const int MostInstructions = 64;
    private const int LookAhead = 8;

    /// <summary>More than a block and what is behind it can take.</summary>
    private const int BlockRoom = 256 << 10;
    private const int AloneRoom = 4096;
    private const int MostPages = 24 << 10;

    private readonly Lock _gate = new();
    private readonly HostFeatures _features;
    private readonly CodeArena _arena;
    private readonly Emitter _emit;
    private readonly Encoder _encoder;
    private readonly bool _counts;
    private readonly Treatments _treatments;
    private readonly InstructionReader _reader = new();
    private readonly InstructionReader _aheadReader = new();
    private readonly PageStore _pages = new();
    private readonly Instruction[] _instructions = new Instruction[MostInstructions];
    private readonly bool[] _flagsWanted = new bool[MostInstructions];
    private readonly Dictionary<ulong, bool> _wantedAt = [];
    private readonly List<ColdCode> _cold = [];
    private readonly List<int> _hostPlaces = [];
    private readonly List<(short Offset, byte Before)> _guestPlaces = [];
    private readonly byte* _alones;
    private readonly byte* _limit;
    private int _count;

    /// <summary>How many instructions of the block come before the one that is written.</summary>
    private int _before;
    private bool _open;

    /// <summary>The page whose code is written, by its distance from itself: 0; 1 where nothing lies in that page.</summary>
    private ulong _page;
    private PageCode? _pageCode;
    private AloneCode? _alone;
    private nint _operand;

    /// <param name="features">What of the host's processor may be used.</param>
    /// <param name="counts">Whether each instruction is counted, and those whose results are the host's are carried out in C#.</param>
    public Translator(HostFeatures features, bool counts = false)
    {
        _features = features;
        _counts = counts;
        _treatments = new Treatments(counts);
        _arena = new CodeArena();
        _emit = new Emitter(_arena.Distance) { Position = _arena.Start };
        _encoder = Encoder.Create(64, _emit);
        Thunks = new Thunks(_emit, features);
        _alones = _emit.Position;
        _emit.Position = _alones + (MostThreads * AloneRoom);
        _limit = _arena.Start + CodeSpace.SlotBytes - BlockRoom;
    }

    /// <summary>The ways in and out.</summary>
    public Thunks Thunks { get; }

    /// <summary>Places that reach memory, by the number translated code gives.</summary>
    public AppendList<Site> Sites { get; } = new();

    /// <summary>Jumps to be linked, likewise.</summary>
    public AppendList<Link> Links { get; } = new();

    /// <summary>Instructions that are carried out in C#, likewise; their addresses are from the start of their page.</summary>
    public AppendList<Instruction> Helpers { get; } = new();

    /// <summary>Whether there is no room for another block or page.</summary>
    public bool IsFull => _emit.Position >= _limit || _pages.Count >= MostPages;

    /// <summary>Blocks, guest instructions, their bytes, and bytes of code written for them so far.</summary>
    public (long Blocks, long Instructions, long GuestBytes, long Bytes) Written { get; private set; }

    /// <summary>What is done with an instruction.</summary>
    public Treatment TreatmentOf(in Instruction instruction) => _treatments.Of(instruction);

    /// <summary>An instruction whose addresses are from the start of its page, at another place.</summary>
    public static Instruction At(in Instruction instruction, ulong pageBase)
    {
        Instruction moved = instruction;
        bool isNarrow = moved.CodeSize != CodeSize.Code64;
        moved.NextIP = isNarrow ? (uint)(moved.NextIP + pageBase) : moved.NextIP + pageBase;
        if (moved.IsIPRelativeMemoryOperand)
            moved.MemoryDisplacement64 = moved.MemoryBase == Register.EIP ? (uint)(moved.MemoryDisplacement64 + pageBase) : moved.MemoryDisplacement64 + pageBase;
        switch (moved.OpCount > 0 ? moved.Op0Kind : OpKind.Register)
        {
            case OpKind.NearBranch16:
                moved.NearBranch16 += (ushort)pageBase;
                break;
            case OpKind.NearBranch32:
                moved.NearBranch32 += (uint)pageBase;
                break;
            case OpKind.NearBranch64:
                moved.NearBranch64 += pageBase;
                break;
            default:
                break;
        }

        return moved;
    }

    /// <summary>The code of a page with the contents that lie at an address of this process.</summary>
    /// <param name="contents">Where they lie.</param>
    /// <param name="isNew">Whether nobody had such a page before.</param>
    public PageCode PageWith(byte* contents, out bool isNew)
    {
        lock (_gate)
        {
            int before = _pages.Count;
            PageCode page = _pages.Of(contents);
            isNew = _pages.Count != before;
            return page;
        }
    }

    /// <summary>Translates the block that begins at an offset of a page; <see cref="PageCode.Crossing"/> where the instruction there reaches into the next.</summary>
    /// <param name="page">The page.</param>
    /// <param name="offset">Where in it.</param>
    /// <param name="mode">The mode of the code.</param>
    /// <param name="bytes">How much code was written for it.</param>
    public nint Translate(PageCode page, int offset, CodeMode mode, out long bytes)
    {
        bytes = 0;
        lock (_gate)
        {
            byte* start = _emit.Position;
            nint code = page.At(mode, offset);
            if (code != 0)
                return code;
            if (_aheadReader.Crosses(mode, (ulong)offset, page.Contents + offset))
            {
                page.Add(mode, offset, PageCode.Crossing);
                return PageCode.Crossing;
            }

            Begin(page, mode & ~CodeMode.Apart);
            _isApart |= (mode & CodeMode.Apart) != 0;
            Decoder decoder = _reader.Begin(mode, (ulong)offset, page.Contents + offset);
            while (_open && _count < (_features.OneInstruction ? 1 : MostInstructions) && decoder.IP < PageCode.Bytes)
            {
                decoder.Decode(out Instruction instruction);
                // What cannot be decoded ends the block before it, and is one of its own when it is reached.
                if (instruction.IsInvalid && _count > 0)
                    break;
                _instructions[_count++] = instruction;
                _open = GoesOn(instruction);
            }

            code = Finish(offset);
            page.Add(mode, offset, code);
            bytes = _emit.Position - start;
            return code;
        }
    }

    /// <summary>Translates an instruction that begins at an offset of a page and ends in another, as a block.</summary>
    public nint TranslateCrossing(PageCode first, PageCode second, int offset, CodeMode mode, out long bytes)
    {
        bytes = 0;
        lock (_gate)
        {
            byte* start = _emit.Position;
            nint code = first.At(mode, offset, second);
            if (code != 0)
                return code;
            Begin(first, mode);
            _page = 1; // nothing is linked to it, and what follows lies elsewhere
            _instructions[_count++] = _aheadReader.Decode(mode, (ulong)offset, first.Contents + offset, second.Contents);
            _open = GoesOn(_instructions[0]);
            code = Finish(offset);
            first.Add(mode, offset, second, code);
            bytes = _emit.Position - start;
            return code;
        }
    }

    /// <summary>
    /// Translates one instruction alone, into a place that the thread's next one overwrites: for stepping, and for an operand that is not where the
    /// tables say.
    /// </summary>
    /// <param name="alone">What the calling thread keeps for it.</param>
    /// <param name="instruction">The instruction.</param>
    /// <param name="operand">Where its memory operand is instead, in this process; 0 for where the tables say.</param>
    /// <param name="mode">The mode it is in.</param>
    public nint TranslateAlone(AloneCode alone, in Instruction instruction, nint operand, CodeMode mode)
    {
        lock (_gate)
        {
            byte* position = _emit.Position;
            _emit.Position = _alones + (alone.Slot * AloneRoom);
            nint code = _emit.Here;
            ulong pageBase = instruction.IP & ~(ulong)(PageCode.Bytes - 1);
            Begin(null, mode);
            _page = 1;
            _before = 0;
            alone.Begin((int)(instruction.IP - pageBase));
            (_alone, _operand) = (alone, operand);
            try
            {
                Instruction moved = At(instruction, 0 - pageBase);
                Write(moved, flagsWanted: true, count: 1, isLast: true);
                LeaveAlone(moved.NextIP);
                WriteCold();
            }
            finally
            {
                (_alone, _operand) = (null, 0);
                _emit.Position = position;
            }

            return code;
        }
    }

    /// <summary>The guest instruction that a place in translated code belongs to, from the start of its page, and how many of its block come before it.</summary>
    public (int Offset, int Before) PlaceOf(ulong hostPlace, AloneCode alone)
    {
        lock (_gate)
        {
            int offset = (int)(hostPlace - (ulong)_arena.CodeStart);
            int found = _hostPlaces.BinarySearch(offset);
            int place = found >= 0 ? found : ~found - 1;
            return place < 0 ? (alone.Offset, 0) : _guestPlaces[place];
        }
    }

    /// <summary>Lets a link's jumps go straight to its target.</summary>
    public void Connect(in Link link, nint code)
    {
        lock (_gate)
        {
            _emit.Patch(link.Place, code + ArrivalBytes);
            if (link.Branch != 0)
                _emit.Patch(link.Branch, code + ArrivalBytes);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _arena.Dispose();
        _pages.Dispose();
    }

    private bool GoesOn(in Instruction instruction)
    {
        if (_treatments.Of(instruction) is not (Treatment.Native or Treatment.Nothing or Treatment.Inlined))
            return false;
        return instruction.FlowControl switch
        {
            FlowControl.Next => true,
            FlowControl.ConditionalBranch => instruction.IsJccShortOrNear,
            _ => false,
        };
    }

    private void Begin(PageCode? page, CodeMode mode)
    {
        _count = 0;
        _open = true;
        _page = 0;
        _pageCode = page;
        Mode = mode;
        _isApart = _features.Apart;
        _cold.Clear();
        _wantedAt.Clear();
        _emit.Depth = 0;
        _flagsAside = false;
    }

    private nint Finish(int offset)
    {
        FindWantedFlags();
        FindGroups();
        _arena.Touch(_emit.Position);
        byte* start = _emit.Position;
        nint code = _emit.Here;
        _blockStart = ((ulong)offset, code);
        _emit.LoadAddressLong(Thunks.R11, Thunks.R11, -offset);
        _emit.StoreState(StateBlock.PageBase, Thunks.R11);
        Debug.Assert(_emit.Here == code + ArrivalBytes, "jumps inside the page skip as many bytes");
        for (int index = 0; index < _count; index++)
        {
            _before = index;
            NotePlace((int)(_emit.Position - _arena.Start), _instructions[index]);
            Write(_instructions[index], _flagsWanted[index], index + 1, index == _count - 1);
        }

        if (_open)
            GoTo(_instructions[_count - 1].NextIP, _count, WantedAt(_instructions[_count - 1].NextIP), looks: false);
        WriteCold();
        long guestBytes = (long)(_instructions[_count - 1].NextIP - _instructions[0].IP);
        Written = (Written.Blocks + 1, Written.Instructions + _count, Written.GuestBytes + guestBytes, Written.Bytes + (_emit.Position - start));
        return code;
    }

    /// <summary>Notes whose code begins at a place. Of instructions that become no code the one behind them has it.</summary>
    private void NotePlace(int hostPlace, in Instruction instruction)
    {
        (short, byte) guestPlace = ((short)instruction.IP, (byte)_before);
        if (_hostPlaces.Count > 0 && _hostPlaces[^1] == hostPlace)
        {
            _guestPlaces[^1] = guestPlace;
            return;
        }

        _hostPlaces.Add(hostPlace);
        _guestPlaces.Add(guestPlace);
    }

    /// <summary>For each instruction, whether flags are wanted by it or after it.</summary>
    private void FindWantedFlags()
    {
        Instruction last = _instructions[_count - 1];
        RflagsBits wanted = _open && WantedAt(last.NextIP) || (!_open && EndWants(last)) ? Liveness.All : RflagsBits.None;
        for (int index = _count - 1; index >= 0; index--)
        {
            ref readonly Instruction instruction = ref _instructions[index];
            if (_treatments.Of(instruction) is not (Treatment.Native or Treatment.Nothing or Treatment.Inlined))
            {
                // It leaves this block with the whole state.
                wanted = Liveness.All;
            }
            else
            {
                if (instruction.IsJccShortOrNear && WantedAt(instruction.NearBranchTarget))
                    wanted = Liveness.All;
                wanted = (wanted & ~Liveness.Killed(instruction)) | (instruction.RflagsRead & Liveness.All);
            }

            _flagsWanted[index] = wanted != RflagsBits.None;
        }
    }

    private bool EndWants(in Instruction last) => last.FlowControl switch
    {
        FlowControl.ConditionalBranch => WantedAt(last.NearBranchTarget) || WantedAt(last.NextIP),
        FlowControl.UnconditionalBranch when last.IsJmpShortOrNear => WantedAt(last.NearBranchTarget),
        FlowControl.Call when last.IsCallNear => WantedAt(last.NearBranchTarget),
        _ => true,
    };

    /// <summary>Whether code from an address on may read a flag before it replaces it.</summary>
    private bool WantedAt(ulong rip)
    {
        if ((rip & ~4095UL) != _page)
            return true;
        if (_wantedAt.TryGetValue(rip, out bool known))
            return known;
        RflagsBits open = Liveness.All;
        bool wanted = true;
        Decoder ahead = _aheadReader.Begin(Mode, rip, _pageCode!.Contents + rip);
        for (int step = 0; step < LookAhead; step++)
        {
            ahead.Decode(out Instruction instruction);
            if (instruction.IsInvalid || (instruction.RflagsRead & open) != 0 || _treatments.Of(instruction) is not (Treatment.Native or Treatment.Nothing or Treatment.Inlined))
                break;
            open &= ~Liveness.Killed(instruction);
            if (open == RflagsBits.None)
            {
                wanted = false;
                break;
            }

            if (instruction.IsJmpShortOrNear && (instruction.NearBranchTarget & ~4095UL) == _page)
            {
                _aheadReader.GoOn(_pageCode.Contents + instruction.NearBranchTarget);
                ahead.IP = instruction.NearBranchTarget;
            }
            else if (instruction.FlowControl != FlowControl.Next || (ahead.IP & ~4095UL) != _page)
            {
                break;
            }
        }

        _wantedAt[rip] = wanted;
        return wanted;
    }
}
