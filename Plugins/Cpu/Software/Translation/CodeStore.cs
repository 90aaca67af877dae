namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>
/// The translated code that machines share. When its memory is full a new generation begins, empty; the old one is freed when no thread may be in
/// its code any more.
/// </summary>
internal sealed class CodeStore(HostFeatures features, bool counts) : IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<Translator> _retired = [];
    private readonly List<SoftwareThread> _threads = [];
    private volatile Translator _current = new(features, counts);

    /// <summary>The generation to use from the next entry on.</summary>
    public Translator Current => _current;

    /// <summary>Notes that a thread is about to run code of the current generation, and of no other of this store.</summary>
    public Translator Hold(SoftwareThread thread)
    {
        lock (_gate)
        {
            thread.Held = _current;
            if (!_threads.Contains(thread))
                _threads.Add(thread);
            FreeRetired();
            return _current;
        }
    }

    /// <summary>Begins a new generation, unless somebody has since.</summary>
    public void Renew(Translator full)
    {
        lock (_gate)
        {
            if (_current != full)
                return;
            _current = new Translator(features, counts);
            _retired.Add(full);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            foreach (Translator translator in _retired)
                translator.Dispose();
            _retired.Clear();
            _current.Dispose();
        }
    }

    private void FreeRetired()
    {
        for (int index = _retired.Count - 1; index >= 0; index--)
        {
            if (_threads.Exists(thread => thread.Held == _retired[index]))
                continue;
            _retired[index].Dispose();
            _retired.RemoveAt(index);
        }
    }
}
