using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Memory.Tests.Support;

/// <summary>The frame table, with every change of an account counted.</summary>
internal sealed class CountingFrames(FrameTable frames) : IFrameTable
{
    public int Changes { get; set; }

    public bool Has(Mfn frame) => frames.Has(frame);

    public (FrameType Type, long Count) TypeOf(Mfn frame) => frames.TypeOf(frame);

    public TypeReference TakeType(Mfn frame, FrameType type)
    {
        Changes++;
        return frames.TakeType(frame, type);
    }

    public bool DropType(Mfn frame)
    {
        Changes++;
        return frames.DropType(frame);
    }

    public bool TakeReference(Mfn frame)
    {
        Changes++;
        return frames.TakeReference(frame);
    }

    public void DropReference(Mfn frame)
    {
        Changes++;
        frames.DropReference(frame);
    }

    public long ReferencesOf(Mfn frame) => frames.ReferencesOf(frame);

    public bool SetPinned(Mfn frame, bool pinned) => frames.SetPinned(frame, pinned);
}
