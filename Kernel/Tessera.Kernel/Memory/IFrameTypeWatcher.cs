using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Kernel.Memory;

/// <summary>Is told when a domain's frames become tables or descriptor tables, and when they stop being such.</summary>
internal interface IFrameTypeWatcher
{
    /// <summary>A frame has another type now. Called by whoever changed it, before the change is used; writable memory is not told of.</summary>
    void TypeChanged(Mfn frame, FrameType type);
}
