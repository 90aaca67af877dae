using Iced.Intel;
using Tessera.Plugins.Cpu.Software.Memory;

namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>
/// Translates guest code block by block: decodes up to the end of the page or a jump that is always taken, finds out which flags are
/// wanted, and writes the same instructions with other registers and checked addresses. One a machine; only the thread that runs the machine uses it.
/// </summary>
internal sealed unsafe partial class Translator : IDisposable
{
    // SAFETY: code is written into the arena between its start and its limit; guest code is read from pages that the caller has walked.
    private const int MostInstructions = 64;
    private const int LookAhead = 8;

    /// <summary>More than a block and what is behind it can take.</summary>
    private const int BlockRoom = 256 << 10;
    private const int SingleRoom = 4096;

    private readonly HostFeatures _features;
    private readonly CodeArena _arena;
    private readonly Emitter _emit;
    private readonly Encoder _encoder;
    private readonly bool _counts;
    private readonly Treatments _treatments;
    private readonly InstructionInfoFactory _infos = new();
    private readonly PageReader _reader = new();
    private readonly PageReader _aheadReader = new();
    private readonly Decoder[] _decoders;
    private readonly Decoder[] _aheads;
    private readonly Instruction[] _instructions = new Instruction[MostInstructions];
    private readonly bool[] _flagsWanted = new bool[MostInstructions];
    private readonly Dictionary<ulong, bool> _wantedAt = [];
    private readonly List<ColdCode> _cold = [];
    private readonly List<int> _hostPlaces = [];
    private readonly List<ulong> _guestPlaces = [];
    private readonly List<byte> _placesBefore = [];
    private readonly byte* _blocks;
    private readonly byte* _limit;
    private readonly byte* _single;
    private int _count;

    /// <summary>How many instructions of the block come before the one that is written.</summary>
    private int _before;
    private bool _open;
    private ulong _page;
    private byte* _pageHost;
    private bool _alone;
    private ulong _aloneRip;
    private nint _operand;

    /// <param name="frames">The machine's memory.</param>
    /// <param name="features">What of the host's processor may be used.</param>
    /// <param name="counts">Whether each instruction is counted, and those whose results are the host's are carried out in C#.</param>
    public Translator(GuestFrames frames, HostFeatures features, bool counts = false)
    {
        _features = features;
        _counts = counts;
        _treatments = new Treatments(counts);
        _arena = new CodeArena();
        _emit = new Emitter(_arena.Distance) { Position = _arena.Start };
        _encoder = Encoder.Create(64, _emit);
        _decoders = [Decoder.Create(64, _reader), Decoder.Create(32, _reader)];
        _aheads = [Decoder.Create(64, _aheadReader), Decoder.Create(32, _aheadReader)];
        Thunks = new Thunks(_emit, features);
        Cache = new CodeCache(frames);
        _single = _emit.Position;
        _blocks = _single + SingleRoom;
        _limit = _arena.Start + CodeSpace.SlotBytes - BlockRoom;
        _emit.Position = _blocks;
    }

    /// <summary>The ways in and out.</summary>
    public Thunks Thunks { get; }

    /// <summary>The blocks there are.</summary>
    public CodeCache Cache { get; }

    /// <summary>Places that reach memory, by the number translated code gives.</summary>
    public List<Site> Sites { get; } = [];

    /// <summary>Jumps to be linked, likewise.</summary>
    public List<Link> Links { get; } = [];

    /// <summary>Instructions that are carried out in C#, likewise.</summary>
    public List<Instruction> Helpers { get; } = [];

    /// <summary>How often the arena was full and everything dropped.</summary>
    public long Resets { get; private set; }

    /// <summary>Blocks, guest instructions and bytes of code written so far.</summary>
    public (long Blocks, long Instructions, long Bytes) Written { get; private set; }

    /// <summary>What is done with an instruction.</summary>
    public Treatment TreatmentOf(in Instruction instruction) => _treatments.Of(instruction);

    /// <summary>Decodes one instruction whose bytes lie in one page.</summary>
    public Instruction Decode(ulong rip, byte* host)
    {
        _aheadReader.Begin(host);
        AheadDecoder.IP = rip;
        AheadDecoder.Decode(out Instruction instruction);
        return instruction;
    }

    /// <summary>Decodes one instruction whose bytes may lie in two pages.</summary>
    public Instruction Decode(ulong rip, byte* first, byte* second)
    {
        _aheadReader.Begin(first, second);
        AheadDecoder.IP = rip;
        AheadDecoder.Decode(out Instruction instruction);
        return instruction;
    }

    /// <summary>Whether the instruction at an address reaches into the next page.</summary>
    public bool Crosses(ulong rip, byte* host)
    {
        if ((rip & 4095) <= 4096 - PageReader.LongestInstruction)
            return false;
        Instruction instruction = Decode(rip, host);
        return instruction.IsInvalid && AheadDecoder.LastError == DecoderError.NoMoreBytes;
    }

    /// <summary>Translates the block that begins at an address.</summary>
    public nint Translate(ulong rip, in Walked at)
    {
        MakeRoom();
        CodeMarked |= Cache.Reserve(at.Address);
        _reader.Begin(at.Host);
        Begin(rip, at.Host);
        while (_open && _count < MostInstructions && (BlockDecoder.IP & ~4095UL) == _page)
        {
            BlockDecoder.Decode(out Instruction instruction);
            // What cannot be decoded ends the block before it, and is one of its own when it is reached.
            if (instruction.IsInvalid && _count > 0)
                break;
            _instructions[_count++] = instruction;
            _open = GoesOn(instruction);
        }

        nint code = Finish(rip);
        Cache.Add(Key(rip), at.Address, code);
        return code;
    }

    /// <summary>Translates an instruction that lies across two pages, as a block.</summary>
    public nint TranslateCrossing(ulong rip, in Walked first, in Walked second)
    {
        MakeRoom();
        CodeMarked |= Cache.Reserve(first.Address) | Cache.Reserve(second.Address);
        Instruction instruction = Decode(rip, first.Host, second.Host);
        Begin(rip, first.Host);
        _page = 1; // no page: nothing is linked to it, and what follows lies elsewhere
        _instructions[_count++] = instruction;
        _open = GoesOn(instruction);
        nint code = Finish(rip);
        Cache.Add(Key(rip), first.Address, second.Address, code);
        return code;
    }

    /// <summary>Whether a frame has come to hold code since this was last cleared: such frames may not be written without notice.</summary>
    public bool CodeMarked { get; set; }

    /// <summary>
    /// Translates one instruction alone, into a place that the next one overwrites: for stepping, and for an operand that is not where the
    /// tables say.
    /// </summary>
    /// <param name="instruction">The instruction.</param>
    /// <param name="operand">Where its memory operand is instead, in this process; 0 for where the tables say.</param>
    public nint TranslateAlone(in Instruction instruction, nint operand)
    {
        byte* position = _emit.Position;
        _emit.Position = _single;
        nint code = _emit.Here;
        Begin(instruction.IP, null);
        _page = 1;
        _before = 0;
        (_alone, _aloneRip, _operand) = (true, instruction.IP, operand);
        try
        {
            Write(instruction, flagsWanted: true, count: 1, isLast: true);
            LeaveAlone(instruction.NextIP);
            WriteCold();
        }
        finally
        {
            (_alone, _operand) = (false, 0);
            _emit.Position = position;
        }

        return code;
    }

    /// <summary>The guest instruction that a place in translated code belongs to.</summary>
    public ulong RipOf(ulong hostPlace)
    {
        int offset = (int)(hostPlace - (ulong)_arena.CodeStart);
        if (offset < _blocks - _arena.Start)
            return _aloneRip;
        int found = _hostPlaces.BinarySearch(offset);
        return _guestPlaces[found >= 0 ? found : ~found - 1];
    }

    /// <summary>How many instructions of its block come before the one that a place in translated code belongs to.</summary>
    public int BeforeOf(ulong hostPlace)
    {
        int offset = (int)(hostPlace - (ulong)_arena.CodeStart);
        if (offset < _blocks - _arena.Start)
            return 0;
        int found = _hostPlaces.BinarySearch(offset);
        return _placesBefore[found >= 0 ? found : ~found - 1];
    }

    /// <summary>Lets a link's jump go straight to its target.</summary>
    public void Connect(in Link link, nint code) => _emit.Patch(link.Place, code);

    /// <inheritdoc/>
    public void Dispose() => _arena.Dispose();

    private bool GoesOn(in Instruction instruction)
    {
        if (_treatments.Of(instruction) is not (Treatment.Native or Treatment.Nothing))
            return false;
        return instruction.FlowControl switch
        {
            FlowControl.Next => true,
            FlowControl.ConditionalBranch => instruction.IsJccShortOrNear,
            _ => false,
        };
    }

    private void MakeRoom()
    {
        if (_emit.Position < _limit)
            return;
        Resets++;
        Cache.Clear();
        Sites.Clear();
        Links.Clear();
        Helpers.Clear();
        _hostPlaces.Clear();
        _guestPlaces.Clear();
        _placesBefore.Clear();
        _emit.Position = _blocks;
    }

    private void Begin(ulong rip, byte* host)
    {
        _count = 0;
        _open = true;
        _page = rip & ~4095UL;
        _pageHost = (byte*)((nint)host & ~4095);
        BlockDecoder.IP = rip;
        _cold.Clear();
        _wantedAt.Clear();
        _emit.Depth = 0;
    }

    private nint Finish(ulong rip)
    {
        FindWantedFlags();
        byte* start = _emit.Position;
        nint code = _emit.Here;
        _blockStart = (rip, code);
        for (int index = 0; index < _count; index++)
        {
            _hostPlaces.Add((int)(_emit.Position - _arena.Start));
            _guestPlaces.Add(_instructions[index].IP);
            _placesBefore.Add((byte)index);
            _before = index;
            Write(_instructions[index], _flagsWanted[index], index + 1, index == _count - 1);
        }

        if (_open)
            GoTo(_instructions[_count - 1].NextIP, _count, WantedAt(_instructions[_count - 1].NextIP), looks: false);
        WriteCold();
        Written = (Written.Blocks + 1, Written.Instructions + _count, Written.Bytes + (_emit.Position - start));
        return code;
    }

    /// <summary>For each instruction, whether flags are wanted by it or after it.</summary>
    private void FindWantedFlags()
    {
        Instruction last = _instructions[_count - 1];
        RflagsBits wanted = _open && WantedAt(last.NextIP) || (!_open && EndWants(last)) ? Liveness.All : RflagsBits.None;
        for (int index = _count - 1; index >= 0; index--)
        {
            ref readonly Instruction instruction = ref _instructions[index];
            if (_treatments.Of(instruction) is not (Treatment.Native or Treatment.Nothing))
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
        _aheadReader.Begin(_pageHost + (rip & 4095));
        AheadDecoder.IP = rip;
        for (int step = 0; step < LookAhead; step++)
        {
            AheadDecoder.Decode(out Instruction instruction);
            if (instruction.IsInvalid || (instruction.RflagsRead & open) != 0 || _treatments.Of(instruction) is not (Treatment.Native or Treatment.Nothing))
                break;
            open &= ~Liveness.Killed(instruction);
            if (open == RflagsBits.None)
            {
                wanted = false;
                break;
            }

            if (instruction.IsJmpShortOrNear && (instruction.NearBranchTarget & ~4095UL) == _page)
            {
                _aheadReader.Begin(_pageHost + (instruction.NearBranchTarget & 4095));
                AheadDecoder.IP = instruction.NearBranchTarget;
            }
            else if (instruction.FlowControl != FlowControl.Next || (AheadDecoder.IP & ~4095UL) != _page)
            {
                break;
            }
        }

        _wantedAt[rip] = wanted;
        return wanted;
    }
}
