using System.Runtime.InteropServices;
using Tessera.Plugins.Cpu.Software.Memory;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Software;

/// <summary>
/// One domain's machine: its memory, its translated code, and what has changed since its CPUs last looked. Its CPUs take turns: one is in
/// <see cref="SoftwareCpu"/>.Run at a time, so that whoever runs owns the code, the TLBs and the marks of frames.
/// </summary>
internal sealed partial class SoftwareMachine : IGuestMachine, IShowsForeignFrames, ITracksWrites, IKeepsTranslations
{
    private const int MostChanges = 256;

    /// <summary>How much one machine may add to code that others share before it gets a store of its own: nobody else's is dropped on its account.</summary>
    private const long MostSharedBytes = CodeSpace.SlotBytes / 2;
    private const ulong AddressMask = 0x000f_ffff_ffff_f000;
    private const ulong Present = 1;
    private const ulong NoExecute = 1UL << 63;

    private readonly Lock _turn = new();
    private readonly Lock _gate = new();
    private readonly List<SoftwareCpu> _cpus = [];
    private readonly (ulong Entry, ulong Before)[] _changes = new (ulong, ulong)[MostChanges];
    private readonly HashSet<ulong> _written = [];
    private readonly HashSet<long> _retired = [];

    /// <summary>Frames that may be written at any moment, and for how many reasons.</summary>
    private readonly Dictionary<long, int> _open = [];

    /// <summary>What is translated of the frames that hold code.</summary>
    private readonly Dictionary<long, PageCode> _pages = [];
    private readonly int _mostCpus;
    private int _changeCount;
    private int _waiting;
    private bool _flush;
    private bool _pending;
    private CodeStore _store;
    private bool _ownsStore;
    private long _translatedBytes;

    public SoftwareMachine(GuestMachineLayout layout, HostFeatures features, long quantum, CodeStore store)
    {
        Validate(layout);
        Name = layout.Name;
        Features = features;
        Time = layout.Time;
        Quantum = quantum;
        _mostCpus = layout.MaxCpus;
        Frames = new GuestFrames(layout.Regions);
        Walker = new PageWalker(Frames);
        _store = store;
        Translator = store.Current;
    }

    /// <summary>The domain's name.</summary>
    public string Name { get; }

    public HostFeatures Features { get; }

    /// <summary>How its time follows from its work; null for the host's time.</summary>
    public GuestTime? Time { get; }

    /// <summary>Guest instructions between two looks at the time and at kicks.</summary>
    public long Quantum { get; }

    public GuestFrames Frames { get; }

    public PageWalker Walker { get; }

    /// <summary>The generation of translated code that it uses.</summary>
    public Translator Translator { get; private set; }

    /// <summary>Decodes what its CPUs carry out themselves.</summary>
    public InstructionReader Reader { get; } = new();

    /// <summary>Counts changes that make every TLB stale.</summary>
    public long Epoch { get; private set; }

    /// <summary>Counts changes that make every jump cache stale.</summary>
    public long CodeEpoch { get; private set; }

    /// <summary>Counts changes that make stale what jump caches know of the processes' half of the address space.</summary>
    public long LowerCodeEpoch { get; private set; }

    /// <summary>Whether another CPU waits for its turn.</summary>
    public bool IsContended => Volatile.Read(ref _waiting) != 0;

    /// <inheritdoc/>
    public IReadOnlyList<RootEntry> RootEntries { get; } = [];

    /// <inheritdoc/>
    public IGuestCpu CreateCpu(int index)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(index, _cpus.Count);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, _mostCpus);
        SoftwareCpu cpu = new(this);
        lock (_turn)
            _cpus.Add(cpu);
        return cpu;
    }

    /// <inheritdoc/>
    public void EntryChanged(ulong entryAddress, ulong oldEntry, ulong newEntry)
    {
        if ((oldEntry & Present) == 0)
            return;
        bool sameFrame = ((oldEntry ^ newEntry) & AddressMask) == 0 && (newEntry & Present) != 0;
        // What was allowed still is: writable, user and large stay, no-execute is not set.
        if (sameFrame && (oldEntry & 6 & ~newEntry) == 0 && ((oldEntry ^ newEntry) & 0x80) == 0 && (newEntry & NoExecute) <= (oldEntry & NoExecute))
            return;
        lock (_gate)
        {
            if (_changeCount == MostChanges)
                _flush = true;
            else
                _changes[_changeCount++] = (entryAddress, oldEntry);
            Volatile.Write(ref _pending, true);
        }
    }

    /// <inheritdoc/>
    public void Synchronize()
    {
        // Nothing is pending once whoever has the turn has begun it anew: then it has followed, for all CPUs.
        if (_mostCpus == 1 || !Volatile.Read(ref _pending))
            return;
        Interlocked.Increment(ref _waiting);
        SpinWait wait = default;
        while (Volatile.Read(ref _pending))
        {
            if (_turn.TryEnter())
            {
                Apply();
                _turn.Exit();
                break;
            }

            wait.SpinOnce();
        }

        Interlocked.Decrement(ref _waiting);
    }

    /// <inheritdoc/>
    public bool TryShow(MemoryRegion region) => Frames.TryShow(region);

    /// <inheritdoc/>
    public void Hide(Mfn frame)
    {
        Frames.Hide(frame);
        lock (_gate)
        {
            _flush = true;
            Volatile.Write(ref _pending, true);
        }
    }

    /// <inheritdoc/>
    public void MemoryWritten(Mfn frame)
    {
        // The bytes are written: whoever translates them from here on reads the new ones, and has marked the frame before.
        Interlocked.MemoryBarrier();
        if (!Frames.HoldsCode(frame.Address))
            return;
        lock (_gate)
        {
            _written.Add(frame.Address);
            Volatile.Write(ref _pending, true);
        }
    }

    /// <inheritdoc/>
    public void WritesBegin(Mfn frame)
    {
        lock (_gate)
            CollectionsMarshal.GetValueRefOrAddDefault(_open, frame.Value, out _)++;
        MemoryWritten(frame);
    }

    /// <inheritdoc/>
    public void WritesEnd(Mfn frame)
    {
        lock (_gate)
        {
            ref int count = ref CollectionsMarshal.GetValueRefOrAddDefault(_open, frame.Value, out _);
            if (--count <= 0)
                _open.Remove(frame.Value);
        }

        MemoryWritten(frame);
    }

    /// <summary>Whether code of a frame may be kept: it is the domain's, and nobody may write it without a word.</summary>
    public bool MayKeepCode(ulong address)
    {
        if (!Frames.IsOwn(address))
            return false;
        lock (_gate)
            return !_open.ContainsKey((long)(address >> 12));
    }

    /// <inheritdoc/>
    public void RootRetired(Mfn root)
    {
        lock (_gate)
        {
            _retired.Add(root.Value);
            Volatile.Write(ref _pending, true);
        }
    }

    /// <summary>Takes the turn, unless kicked or late before it comes; then makes what changed effective.</summary>
    public bool TryEnter(SoftwareThread thread, long deadline)
    {
        // The only CPU has nobody to take turns with.
        if (_mostCpus > 1 && !_turn.TryEnter())
        {
            Interlocked.Increment(ref _waiting);
            try
            {
                while (!_turn.TryEnter(1))
                {
                    if (thread.TakeKick() || System.Diagnostics.Stopwatch.GetTimestamp() >= deadline)
                        return false;
                }
            }
            finally
            {
                Interlocked.Decrement(ref _waiting);
            }
        }

        Translator current = _store.Current;
        if (thread.Held != current || Translator != current)
            Adopt(_store.Hold(thread));
        if (Volatile.Read(ref _pending))
            Apply();
        return true;
    }

    /// <summary>Gives the turn back.</summary>
    public void Leave()
    {
        if (_mostCpus > 1)
            _turn.Exit();
    }

    /// <summary>Code of a frame was or will be written: nothing translated from it is used again.</summary>
    public void InvalidateCode(ulong address)
    {
        if (_pages.Remove((long)(address >> 12)))
            CodeGone(address);
        Frames.ClearCode(address);
    }

    /// <summary>What is translated of the frame at an address.</summary>
    /// <param name="address">An address in it.</param>
    /// <param name="host">The same in this process.</param>
    public unsafe PageCode PageOf(ulong address, byte* host)
    {
        // SAFETY: the caller has walked to the address; its whole page is memory of the machine.
        ref PageCode? page = ref CollectionsMarshal.GetValueRefOrAddDefault(_pages, (long)(address >> 12), out _);
        if (page is not null)
            return page;
        // Marked before it is read: whoever writes it from now on says so.
        Frames.MarkCode(address);
        Interlocked.MemoryBarrier();
        if (Frames.TakeWritten(address))
        {
            ForgetWrites();
        }

        page = Translator.PageWith((byte*)((nint)host & ~(nint)(PageCode.Bytes - 1)), out bool isNew);
        if (isNew)
            Translated(PageCode.Bytes);
        return page;
    }

    /// <summary>Makes room for more code, from the next entry on.</summary>
    public void RenewCode() => _store.Renew(Translator);

    /// <summary>Counts what was kept for it: code, and copies of pages.</summary>
    public void Translated(long bytes)
    {
        _translatedBytes += bytes;
        if (_ownsStore || _translatedBytes < MostSharedBytes)
            return;
        try
        {
            _store = new CodeStore(Features, counts: Time is not null);
            _ownsStore = true;
        }
        catch (EngineException)
        {
            // There is no room for another store: it goes on with the one that is shared, and asks again later.
            _translatedBytes = 0;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (SoftwareCpu cpu in _cpus)
            cpu.Dispose();
        if (_ownsStore)
            _store.Dispose();
    }

    private void Adopt(Translator current)
    {
        if (Translator == current)
            return;
        Translator = current;
        _translatedBytes = 0;
        _pages.Clear();
        Frames.ClearAllCode();
        CodeEpoch++;
    }

    private void Apply()
    {
        lock (_gate)
        {
            Volatile.Write(ref _pending, false);
            for (int index = 0; index < _changeCount; index++)
                Apply(_changes[index].Entry, _changes[index].Before);
            _changeCount = 0;
            foreach (ulong address in _written)
                InvalidateCode(address);
            _written.Clear();
            foreach (long root in _retired)
            {
                foreach (SoftwareCpu cpu in _cpus)
                    cpu.DropRoot(root);
            }

            _retired.Clear();
            if (_flush)
                Epoch++;
            _flush = false;
        }
    }

    private void Apply(ulong entry, ulong before)
    {
        if (Frames.IsUpperTable(entry))
        {
            // Everything that was reached through it goes; it counts as what it is walked as from now on.
            Frames.ClearUpperTable(entry);
            _flush = true;
            return;
        }

        foreach (SoftwareCpu cpu in _cpus)
            cpu.Drop(entry);
        if ((before & NoExecute) == 0 && Frames.HoldsCode(before & AddressMask))
            CodeGone(before & AddressMask);
    }

    /// <summary>What leads to a frame's code is stale: in the processes' half only, if it has not run elsewhere.</summary>
    private void CodeGone(ulong address)
    {
        if (Frames.HoldsUpperCode(address))
            CodeEpoch++;
        else
            LowerCodeEpoch++;
    }

    private static void Validate(GuestMachineLayout layout)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(layout.MaxCpus, 1);
        long end = SoftwareEngine.ReservedFrames;
        foreach (MemoryRegion region in layout.Regions.OrderBy(region => region.First.Value))
        {
            if (region.First.Value < end)
                throw new ArgumentException($"region at frame {region.First.Value} overlaps another or the engine's own frames, up to {end}", nameof(layout));
            if ((region.HostAddress & 4095) != 0 || region.Frames < 0)
                throw new ArgumentException($"region at frame {region.First.Value} is not page aligned", nameof(layout));
            end = region.First.Value + region.Frames;
        }
    }
}
