using System.Runtime.InteropServices;
using Tessera.Sdk.Cpu;

namespace Tessera.Plugins.Cpu.Software;

// Code that was met and is not translated.
internal sealed partial class SoftwareMachine : INamesUnknownCode
{
    private const int MostUnknown = 64;

    private readonly Dictionary<int, int> _unknownPlaces = new(MostUnknown);
    private readonly List<UnknownCode> _unknown = new(MostUnknown);
    private readonly Lock _unknownGate = new();

    /// <inheritdoc/>
    public IReadOnlyList<UnknownCode> UnknownCode
    {
        get
        {
            lock (_unknownGate)
                return [.. _unknown];
        }
    }

    /// <summary>Counts one more; false when it has never been met, and then it is to be described.</summary>
    public bool CountUnknown(int key)
    {
        lock (_unknownGate)
        {
            if (!_unknownPlaces.TryGetValue(key, out int place))
                return _unknown.Count == MostUnknown;
            CollectionsMarshal.AsSpan(_unknown)[place] = _unknown[place] with { Count = _unknown[place].Count + 1 };
            return true;
        }
    }

    /// <summary>Describes what was met for the first time.</summary>
    public void AddUnknown(int key, string what, ReadOnlySpan<byte> bytes)
    {
        lock (_unknownGate)
        {
            _unknownPlaces[key] = _unknown.Count;
            _unknown.Add(new UnknownCode(what, Convert.ToHexStringLower(bytes), 1));
        }
    }
}
