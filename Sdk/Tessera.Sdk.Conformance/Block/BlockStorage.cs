using Tessera.Sdk.Devices;

namespace Tessera.Sdk.Conformance.Block;

/// <summary>
/// A place to store a small disk (64 KiB to 4 MiB) for one case of the conformance suite, and the backend over it. Disposing removes it.
/// What the disk holds at first does not matter.
/// </summary>
public abstract class BlockStorage : IDisposable
{
    /// <summary>Whether the disk is still there when its backend has been disposed and another is made.</summary>
    public virtual bool IsPersistent => true;

    /// <summary>Whether <see cref="Crash"/> can be called.</summary>
    public virtual bool CanCrash => false;

    /// <summary>Makes a backend over the storage, not opened. Called again after the one before was disposed, or after a crash.</summary>
    public abstract IBlockBackend Make();

    /// <summary>
    /// The machine stops: of what the backend has written and not synchronized, any part may be lost or torn. The backend made last
    /// writes nothing from now on, not when it is disposed either. Draw chance from the number given.
    /// </summary>
    /// <param name="seed">The same seed loses the same.</param>
    /// <exception cref="NotSupportedException"><see cref="CanCrash"/> is false.</exception>
    public virtual void Crash(int seed) => throw new NotSupportedException("This storage cannot crash; CanCrash says so.");

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Removes it.</summary>
    /// <param name="disposing">True when called by <see cref="Dispose()"/>.</param>
    protected virtual void Dispose(bool disposing)
    {
    }
}

/// <summary>A storage made of a function: all that volatile backends need.</summary>
/// <param name="make">Makes a backend over a new disk.</param>
public sealed class VolatileBlockStorage(Func<IBlockBackend> make) : BlockStorage
{
    /// <inheritdoc/>
    public override bool IsPersistent => false;

    /// <inheritdoc/>
    public override IBlockBackend Make() => make();
}
