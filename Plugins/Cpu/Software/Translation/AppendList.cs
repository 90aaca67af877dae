namespace Tessera.Plugins.Cpu.Software.Translation;

/// <summary>A list that only grows. One thread at a time adds; others read what was added before they learned its number.</summary>
internal sealed class AppendList<T>
{
    private const int ChunkShift = 12;
    private const int ChunkSize = 1 << ChunkShift;

    private T[][] _chunks = [];

    /// <summary>How many there are.</summary>
    public int Count { get; private set; }

    /// <summary>An element.</summary>
    public ref readonly T this[int index] => ref Volatile.Read(ref _chunks)[index >> ChunkShift][index & (ChunkSize - 1)];

    /// <summary>Adds an element; answers its number.</summary>
    public int Add(T value)
    {
        if (Count == _chunks.Length << ChunkShift)
            Volatile.Write(ref _chunks, [.. _chunks, new T[ChunkSize]]);
        _chunks[Count >> ChunkShift][Count & (ChunkSize - 1)] = value;
        return Count++;
    }
}
