using Tessera.Kernel.Snapshots;

namespace Tessera.Kernel.Console;

// Saving and restoring. The ring lies in guest memory; what has been shown is the viewer's and stays behind.
public sealed partial class DomainConsole
{
    /// <summary>Input that a snapshot keeps at most; what was typed beyond it is dropped.</summary>
    private const int MostSavedInput = 64 * 1024;

    /// <summary>Writes the input that the ring has not taken.</summary>
    /// <param name="writer">Where to.</param>
    /// <param name="meanwhile">Called while nothing touches the ring.</param>
    internal void Save(StateWriter writer, Action meanwhile)
    {
        lock (_gate)
        {
            writer.Bytes(_input.Take(MostSavedInput).ToArray());
            meanwhile();
        }
    }

    /// <summary>Reads it.</summary>
    /// <exception cref="SnapshotException">It cannot be.</exception>
    internal void Restore(StateReader reader)
    {
        lock (_gate)
        {
            foreach (byte value in reader.Bytes("the console's input", MostSavedInput))
                _input.Enqueue(value);
        }
    }
}
