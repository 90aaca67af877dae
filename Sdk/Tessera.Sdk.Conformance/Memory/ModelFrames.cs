using Tessera.Sdk.Memory;

namespace Tessera.Sdk.Conformance.Memory;

/// <summary>Accounts of the frames of a <see cref="MmuMachine"/>, strict with who keeps them, with every change counted.</summary>
internal sealed class ModelFrames : IFrameTable
{
    private readonly Account[] _accounts = new Account[MmuMachine.Own];

    /// <summary>Changes of a type or a reference.</summary>
    public int Changes { get; private set; }

    public bool Has(Mfn frame) => MmuMachine.IndexOf(frame) >= 0;

    public (FrameType Type, long Count) TypeOf(Mfn frame) =>
        MmuMachine.IndexOf(frame) is >= 0 and var index ? (_accounts[index].Type, _accounts[index].Count) : default;

    public TypeReference TakeType(Mfn frame, FrameType type)
    {
        Changes++;
        if (MmuMachine.IndexOf(frame) < 0)
            return TypeReference.NotOwner;
        ref Account account = ref Of(frame);
        if (account.Count > 0 && account.Type != type)
            return TypeReference.Conflict;
        account.Type = type;
        return account.Count++ == 0 ? TypeReference.TakenFirst : TypeReference.Taken;
    }

    public bool DropType(Mfn frame)
    {
        Changes++;
        ref Account account = ref Of(frame);
        if (account.Count == 0)
            throw new InvalidOperationException($"{frame} has no type to drop.");
        if (--account.Count > 0)
            return false;
        account.Type = FrameType.None;
        return true;
    }

    public bool TakeReference(Mfn frame)
    {
        Changes++;
        if (MmuMachine.IndexOf(frame) < 0)
            return false;
        Of(frame).References++;
        return true;
    }

    public void DropReference(Mfn frame)
    {
        Changes++;
        if (--Of(frame).References < 0)
            throw new InvalidOperationException($"{frame} has no reference to drop.");
    }

    public long ReferencesOf(Mfn frame) => MmuMachine.IndexOf(frame) is >= 0 and var index ? _accounts[index].References : 0;

    public bool SetPinned(Mfn frame, bool pinned)
    {
        if (MmuMachine.IndexOf(frame) < 0 || Of(frame).IsPinned == pinned)
            return false;
        Of(frame).IsPinned = pinned;
        return true;
    }

    /// <summary>Nothing is held any more.</summary>
    public void RequireIdle()
    {
        for (int index = 0; index < _accounts.Length; index++)
        {
            if (_accounts[index] != default)
                Expect.Fail($"frame {index} of the domain is still held: {_accounts[index]}");
        }
    }

    private ref Account Of(Mfn frame)
    {
        int index = MmuMachine.IndexOf(frame);
        if (index < 0)
            throw new InvalidOperationException($"{frame} is not the domain's.");
        return ref _accounts[index];
    }

    private record struct Account(FrameType Type, long Count, long References, bool IsPinned);
}
