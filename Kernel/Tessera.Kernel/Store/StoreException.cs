using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>The store refused something to a caller inside the VMM.</summary>
/// <param name="error">Xen's error.</param>
/// <param name="path">What it was about.</param>
public sealed class StoreException(XenErrno error, string path) : Exception($"The store refused {path}: {error}.")
{
    /// <summary>Xen's error.</summary>
    public XenErrno Error => error;

    /// <summary>What it was about.</summary>
    public string Path => path;
}
