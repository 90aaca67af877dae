using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests.Support;

/// <summary>The frame table, with every change of an account counted.</summary>
internal sealed class CountingFrames(FrameTable frames) : IFrameTable
{
    public int Changes { get; set; }

    public bool IsOwner(DomainId domain, Mfn frame) => frames.IsOwner(domain, frame);

    public (FrameType Type, long Count) TypeOf(Mfn frame) => frames.TypeOf(frame);

    public TypeReference TakeType(DomainId domain, Mfn frame, FrameType type)
    {
        Changes++;
        return frames.TakeType(domain, frame, type);
    }

    public bool DropType(Mfn frame)
    {
        Changes++;
        return frames.DropType(frame);
    }

    public bool TakeReference(DomainId domain, Mfn frame)
    {
        Changes++;
        return frames.TakeReference(domain, frame);
    }

    public void DropReference(Mfn frame)
    {
        Changes++;
        frames.DropReference(frame);
    }

    public long ReferencesOf(Mfn frame) => frames.ReferencesOf(frame);

    public bool SetPinned(Mfn frame, bool pinned) => frames.SetPinned(frame, pinned);
}
