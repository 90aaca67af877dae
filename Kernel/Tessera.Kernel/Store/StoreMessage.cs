using System.Buffers.Binary;

namespace Tessera.Kernel.Store;

/// <summary>Message types of the store's wire protocol (public/io/xs_wire.h).</summary>
internal enum StoreMessage
{
    Control = 0,
    Directory = 1,
    Read = 2,
    GetPermissions = 3,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    Introduce = 8,
    Release = 9,
    GetDomainPath = 10,
    Write = 11,
    MakeDirectory = 12,
    Remove = 13,
    SetPermissions = 14,
    WatchEvent = 15,
    Error = 16,
    IsDomainIntroduced = 17,
    Resume = 18,
    SetTarget = 19,
    ResetWatches = 21,
    DirectoryPart = 22,
}

/// <summary>The header of a message.</summary>
/// <param name="Type">A <see cref="StoreMessage"/>, or whatever a guest wrote.</param>
/// <param name="Request">The guest's number for the request, given back in the answer.</param>
/// <param name="Transaction">The transaction's id, 0 for none.</param>
/// <param name="Length">Bytes that follow.</param>
internal readonly record struct StoreHeader(uint Type, uint Request, uint Transaction, uint Length)
{
    /// <summary>Bytes of a header.</summary>
    public const int Bytes = 16;

    /// <summary>Most bytes that may follow one, either way (XENSTORE_PAYLOAD_MAX).</summary>
    public const int MaxPayload = 4096;

    public static StoreHeader Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt32LittleEndian(bytes),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]));

    /// <summary>A whole message.</summary>
    public static byte[] Message(StoreMessage type, uint request, uint transaction, ReadOnlySpan<byte> payload)
    {
        byte[] message = new byte[Bytes + payload.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(message, (uint)type);
        BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(4), request);
        BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(8), transaction);
        BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(12), (uint)payload.Length);
        payload.CopyTo(message.AsSpan(Bytes));
        return message;
    }
}
