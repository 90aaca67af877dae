using Tessera.Kernel.Snapshots;

namespace Tessera.Kernel.Grants;

/// <content>Saving and restoring. The entries lie in guest memory; a table that is in use by others is not saved.</content>
internal sealed partial class GrantTable
{
    /// <summary>Writes version and size.</summary>
    public void Save(StateWriter writer)
    {
        lock (_gate)
        {
            writer.Number(_version);
            writer.Number(_frameCount);
        }
    }

    /// <summary>
    /// Reads version and size of a table whose frames have been filled. What it permits to other domains than the VMM's is taken back: their numbers are strangers'.
    /// </summary>
    /// <exception cref="SnapshotException">They cannot be.</exception>
    public void Restore(StateReader reader)
    {
        lock (_gate)
        {
            _version = (int)reader.Number("the grant table's version", 1, 2);
            _frameCount = (int)reader.Number("the grant table's size", 1, MaxFrames);
            for (uint reference = 0; reference < GrantEntries.CountIn(_version, _frameCount); reference++)
            {
                if (_entries.Header(_version, reference) >> 16 != 0)
                    _entries.Revoke(_version, reference);
            }
        }
    }
}
