using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using Tessera.Sdk;

namespace Tessera.Kernel.Store;

/// <summary>
/// One domain's conversation with the store, without the ring: reads requests, answers into the outbox, keeps the domain's watches and
/// transactions. One thread at a time.
/// </summary>
internal sealed partial class StoreSession(DomainId domain, XenStore store, StoreOutbox outbox)
{
    private static readonly byte[] Ok = "OK\0"u8.ToArray();

    private readonly Dictionary<uint, StoreTransaction> _transactions = [];
    private readonly HashSet<(string Given, string Token)> _watches = [];
    private uint _lastTransaction;

    /// <summary>Answers one request.</summary>
    public void Handle(in StoreHeader header, ReadOnlySpan<byte> payload)
    {
        StoreMessage type = (StoreMessage)header.Type;
        if (type == StoreMessage.Watch)
        {
            Watch(header, payload);
            return;
        }

        byte[] answer = Ok;
        XenErrno error = Answer(type, header.Transaction, payload, ref answer);
        if (error == XenErrno.Success && answer.Length > StoreHeader.MaxPayload)
            error = XenErrno.E2BIG;
        if (error == XenErrno.Success)
            outbox.Answer(type, header.Request, header.Transaction, answer);
        else
            Refuse(header, error);
    }

    /// <summary>Takes away its watches and gives up its transactions: RESET_WATCHES, a reconnection, or the end.</summary>
    public void Reset()
    {
        foreach ((string given, string token) in _watches)
            _ = store.Unwatch(outbox, domain, given, token);
        _watches.Clear();
        foreach (StoreTransaction transaction in _transactions.Values)
            _ = store.End(transaction, commit: false);
        _transactions.Clear();
        _lost.Clear();
    }

    private static byte[] Text(string text) => Encoding.Latin1.GetBytes($"{text}\0");

    /// <summary>The strings of a payload, each ended by a zero byte.</summary>
    private static bool TryWords(ReadOnlySpan<byte> payload, int least, out string[] words)
    {
        words = [];
        if (payload.IsEmpty || payload[^1] != 0)
            return false;
        words = Encoding.Latin1.GetString(payload[..^1]).Split('\0');
        return words.Length >= least;
    }

    private static bool TryDomain(string word, out DomainId id)
    {
        bool valid = ushort.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out ushort value) && value < 0x7FF0;
        id = new DomainId(value);
        return valid;
    }

    private void Refuse(in StoreHeader header, XenErrno error) => outbox.Answer(StoreMessage.Error, header.Request, header.Transaction, Text($"{error}"));

    private XenErrno Answer(StoreMessage type, uint transactionId, ReadOnlySpan<byte> payload, ref byte[] answer)
    {
        StoreTransaction? transaction = null;
        bool mindsTransaction = type is StoreMessage.Directory or StoreMessage.DirectoryPart or StoreMessage.Read or StoreMessage.GetPermissions
            or StoreMessage.Write or StoreMessage.MakeDirectory or StoreMessage.Remove or StoreMessage.SetPermissions;
        if (mindsTransaction && transactionId != 0 && !_transactions.TryGetValue(transactionId, out transaction))
            return XenErrno.ENOENT;
        switch (type)
        {
            case StoreMessage.Directory:
                return Directory(transaction, payload, ref answer);
            case StoreMessage.DirectoryPart:
                return DirectoryPart(transaction, payload, ref answer);
            case StoreMessage.Read:
                XenErrno read = Look(transaction, payload, forChildren: false, out StoreNode? node);
                answer = node?.Value ?? [];
                return read;
            case StoreMessage.GetPermissions:
                return GetPermissions(transaction, payload, ref answer);
            case StoreMessage.SetPermissions:
                return SetPermissions(transaction, payload);
            case StoreMessage.Write:
                int end = payload.IndexOf((byte)0);
                return end < 0 ? XenErrno.EINVAL : Update(transaction, StoreUpdateKind.Write, Encoding.Latin1.GetString(payload[..end]), payload[(end + 1)..].ToArray());
            case StoreMessage.MakeDirectory:
                return TryWords(payload, 1, out string[] made) ? Update(transaction, StoreUpdateKind.MakeDirectory, made[0]) : XenErrno.EINVAL;
            case StoreMessage.Remove:
                return TryWords(payload, 1, out string[] removed) ? Update(transaction, StoreUpdateKind.Remove, removed[0]) : XenErrno.EINVAL;
            case StoreMessage.Unwatch:
                return Unwatch(payload);
            case StoreMessage.ResetWatches:
                Reset();
                return XenErrno.Success;
            case StoreMessage.TransactionStart:
                return Begin(transactionId, ref answer);
            case StoreMessage.TransactionEnd:
                return End(transactionId, payload);
            default:
                return AboutDomains(type, payload, ref answer);
        }
    }

    private XenErrno Look(StoreTransaction? transaction, ReadOnlySpan<byte> payload, bool forChildren, out StoreNode? node)
    {
        node = null;
        return TryWords(payload, 1, out string[] words) && StorePath.TryResolve(domain, words[0], out string path)
            ? store.Look(domain, transaction, path, forChildren, out node)
            : XenErrno.EINVAL;
    }

    private XenErrno Update(StoreTransaction? transaction, StoreUpdateKind kind, string given, byte[]? value = null) =>
        StorePath.TryResolve(domain, given, out string path)
            ? store.Update(domain, transaction, new StoreUpdate(kind, path, value ?? [], default))
            : XenErrno.EINVAL;

    private XenErrno Directory(StoreTransaction? transaction, ReadOnlySpan<byte> payload, ref byte[] answer)
    {
        XenErrno error = Look(transaction, payload, forChildren: true, out StoreNode? node);
        if (error != XenErrno.Success)
            return error;
        // A domain's thousand names may be of two thousand letters: they are counted before they are put together.
        if (node!.Children.Keys.Sum(name => name.Length + 1) > StoreHeader.MaxPayload)
            return XenErrno.E2BIG;
        answer = Encoding.Latin1.GetBytes(string.Concat(node.Children.Keys.Select(name => name + "\0")));
        return XenErrno.Success;
    }

    private XenErrno DirectoryPart(StoreTransaction? transaction, ReadOnlySpan<byte> payload, ref byte[] answer)
    {
        if (!TryWords(payload, 2, out string[] words) || !uint.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out uint offset))
            return XenErrno.EINVAL;
        XenErrno error = Look(transaction, payload, forChildren: true, out StoreNode? node);
        if (error != XenErrno.Success)
            return error;
        StringBuilder part = new($"{node!.ListStamp}\0");
        bool isLast = true;
        long at = 0;
        foreach (string name in node.Children.Keys)
        {
            long end = at + name.Length + 1;
            if (end > offset)
            {
                // Whole names only, but for the one in which the offset is; the end of the list is an empty one.
                ReadOnlySpan<char> rest = name.AsSpan((int)Math.Max(0, offset - at));
                if (part.Length + rest.Length + 1 > StoreHeader.MaxPayload - 1)
                {
                    isLast = false;
                    break;
                }

                _ = part.Append(rest).Append('\0');
            }

            at = end;
        }

        answer = Encoding.Latin1.GetBytes(isLast ? part.Append('\0').ToString() : part.ToString());
        return XenErrno.Success;
    }

    private XenErrno GetPermissions(StoreTransaction? transaction, ReadOnlySpan<byte> payload, ref byte[] answer)
    {
        if (!TryWords(payload, 1, out string[] words) || !TryResolveOrSpecial(words[0], out string path))
            return XenErrno.EINVAL;
        XenErrno error = store.GetPermissions(domain, transaction, path, out ImmutableArray<StorePermission> permissions);
        if (error == XenErrno.Success)
            answer = Encoding.Latin1.GetBytes(string.Concat(permissions.Select(permission => $"{permission}\0")));
        return error;
    }

    private XenErrno SetPermissions(StoreTransaction? transaction, ReadOnlySpan<byte> payload)
    {
        if (!TryWords(payload, 2, out string[] words) || !TryResolveOrSpecial(words[0], out string path))
            return XenErrno.EINVAL;
        ImmutableArray<StorePermission>.Builder permissions = ImmutableArray.CreateBuilder<StorePermission>();
        foreach (string word in words.AsSpan(1))
        {
            if (!StorePermission.TryParse(word, out StorePermission permission))
                return XenErrno.EINVAL;
            permissions.Add(permission);
        }

        return store.Update(domain, transaction, new StoreUpdate(StoreUpdateKind.SetPermissions, path, [], permissions.ToImmutable()));
    }

    private bool TryResolveOrSpecial(string given, out string path)
    {
        path = given;
        return given.StartsWith(StorePath.Special) || StorePath.TryResolve(domain, given, out path);
    }

    /// <summary>The answer comes before the first event.</summary>
    private void Watch(StoreHeader header, ReadOnlySpan<byte> payload)
    {
        XenErrno error = XenErrno.EINVAL;
        if (TryWords(payload, 2, out string[] words))
        {
            error = store.Watch(outbox, domain, words[0], words[1], () => outbox.Answer(StoreMessage.Watch, header.Request, header.Transaction, Ok));
            if (error == XenErrno.Success)
                _ = _watches.Add((words[0], words[1]));
        }

        if (error != XenErrno.Success)
            Refuse(header, error);
    }

    private XenErrno Unwatch(ReadOnlySpan<byte> payload)
    {
        if (!TryWords(payload, 2, out string[] words))
            return XenErrno.EINVAL;
        XenErrno error = store.Unwatch(outbox, domain, words[0], words[1]);
        if (error == XenErrno.Success)
            _ = _watches.RemoveWhere(watch => watch.Token == words[1] && SamePath(watch.Given, words[0]));
        return error;
    }

    /// <summary>A watch may be set by a relative path and taken away by the absolute one.</summary>
    private bool SamePath(string one, string other) =>
        one == other || (TryResolveOrSpecial(one, out string first) && TryResolveOrSpecial(other, out string second) && first == second);

    private XenErrno Begin(uint current, ref byte[] answer)
    {
        if (current != 0)
            return XenErrno.EBUSY;
        XenErrno error = store.Begin(domain, out StoreTransaction? transaction);
        if (error != XenErrno.Success)
            return error;
        do
            _lastTransaction++;
        while (_lastTransaction == 0 || _transactions.ContainsKey(_lastTransaction));
        _transactions.Add(_lastTransaction, transaction!);
        answer = Text($"{_lastTransaction}");
        return XenErrno.Success;
    }

    private XenErrno End(uint id, ReadOnlySpan<byte> payload)
    {
        if (!TryWords(payload, 1, out string[] words) || words[0] is not ("T" or "F"))
            return XenErrno.EINVAL;
        if (!_transactions.Remove(id, out StoreTransaction? transaction))
            return XenErrno.ENOENT;
        bool isLost = _lost.Remove(id);
        XenErrno error = store.End(transaction, words[0] == "T" && !isLost);
        return isLost && words[0] == "T" ? XenErrno.EAGAIN : error;
    }

    private XenErrno AboutDomains(StoreMessage type, ReadOnlySpan<byte> payload, ref byte[] answer)
    {
        if (type is not (StoreMessage.GetDomainPath or StoreMessage.IsDomainIntroduced or StoreMessage.Introduce or StoreMessage.Release
            or StoreMessage.Resume or StoreMessage.SetTarget or StoreMessage.Control))
            return XenErrno.ENOSYS;
        bool isAllowed = StoreBooks.IsPrivileged(domain) || type == StoreMessage.GetDomainPath;
        if (type == StoreMessage.Control)
            return isAllowed ? XenErrno.ENOSYS : XenErrno.EACCES;
        if (!TryWords(payload, 1, out string[] words) || !TryDomain(words[0], out DomainId id))
            return isAllowed ? XenErrno.EINVAL : XenErrno.EACCES;
        switch (type)
        {
            case StoreMessage.GetDomainPath:
                answer = Text(StorePath.HomeOf(id));
                return XenErrno.Success;
            case StoreMessage.IsDomainIntroduced when isAllowed || id == domain:
                answer = store.IsIntroduced(id) ? "T\0"u8.ToArray() : "F\0"u8.ToArray();
                return XenErrno.Success;
            case var _ when !isAllowed:
                return XenErrno.EACCES;
            case StoreMessage.Introduce:
                // The domain builder connects a domain; a second introduction changes nothing.
                return id.Value != 0 && store.IsIntroduced(id) ? XenErrno.Success : XenErrno.EINVAL;
            case StoreMessage.Release:
                if (id.Value == 0 || !store.IsIntroduced(id))
                    return XenErrno.ENOENT;
                store.Release(id);
                return XenErrno.Success;
            case StoreMessage.Resume:
                return store.Resume(id);
            default:
                return words.Length >= 2 && TryDomain(words[1], out DomainId target) ? store.SetTarget(id, target) : XenErrno.EINVAL;
        }
    }
}
