using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Tessera.Sdk;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Devices;

/// <summary>
/// The backend's end of a shared ring (public/io/ring.h): requests in, responses out, in the same slots. The frontend may write anything anywhere in it at any
/// time, so requests are copied before anyone looks at them, the backend's own indices are kept privately, and a producer index that claims more requests
/// than the ring has room for breaks the ring for good.
/// </summary>
/// <remarks>One thread at a time. Nothing is allocated after the beginning. A ring of several pages is one array across their ends.</remarks>
internal sealed unsafe class SharedRing : IDisposable
{
    /// <summary>Bytes before the first slot.</summary>
    public const int HeaderBytes = 64;

    private const int RequestProducer = 0;
    private const int RequestEvent = 4;
    private const int ResponseProducer = 8;
    private const int ResponseEvent = 12;
    private const int PageBytes = GrantHandle.PageBytes;

    private readonly GrantHandle[] _pages;
    private readonly nint[] _addresses;
    private readonly int _entryBytes;
    private uint _requestsTaken;
    private uint _responsesPut;
    private uint _responsesPublished;

    /// <summary>Begins where the ring stands: a frontend that reconnects goes on with its indices.</summary>
    /// <param name="pages">The ring's pages in order, mapped for writing; the ring releases them.</param>
    /// <param name="entryBytes">Size of a slot: that of the larger of request and response.</param>
    public SharedRing(ReadOnlySpan<GrantHandle> pages, int entryBytes)
    {
        ArgumentOutOfRangeException.ThrowIfZero(pages.Length, nameof(pages));
        ArgumentOutOfRangeException.ThrowIfLessThan(entryBytes, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(entryBytes, PageBytes - HeaderBytes);
        _pages = [.. pages];
        _addresses = new nint[pages.Length];
        for (int page = 0; page < pages.Length; page++)
            _addresses[page] = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetReference(pages[page].Span));
        _entryBytes = entryBytes;
        Entries = (int)(1u << BitOperations.Log2((uint)(((pages.Length * PageBytes) - HeaderBytes) / entryBytes)));
        _responsesPublished = _responsesPut = _requestsTaken = Volatile.Read(ref Index(ResponseProducer));
        _ = Pending;
    }

    /// <summary>Slots: the largest power of two that fits.</summary>
    public int Entries { get; }

    /// <summary>The frontend forged its indices: nothing more is taken. The device should be closed.</summary>
    public bool IsBroken { get; private set; }

    /// <summary>Requests taken and not yet answered.</summary>
    public int InFlight => (int)(_requestsTaken - _responsesPut);

    /// <summary>Requests that wait; never more than the ring has slots left for.</summary>
    public int Pending
    {
        get
        {
            uint producer = Volatile.Read(ref Index(RequestProducer));
            if (producer - _responsesPut > (uint)Entries || producer - _responsesPut < _requestsTaken - _responsesPut)
                IsBroken = true;
            return IsBroken ? 0 : (int)(producer - _requestsTaken);
        }
    }

    /// <summary>Maps a ring that the frontend granted.</summary>
    /// <returns>Okay with a ring; else why a page could not be mapped, with none mapped.</returns>
    public static GrantStatus TryMap(GrantAccess access, ReadOnlySpan<GrantRef> pages, int entryBytes, out SharedRing? ring)
    {
        ring = null;
        GrantHandle[] handles = new GrantHandle[pages.Length];
        for (int page = 0; page < pages.Length; page++)
        {
            GrantStatus status = access.TryMap(pages[page], GrantMode.Write, out GrantHandle? handle);
            if (status != GrantStatus.Okay)
            {
                for (int mapped = 0; mapped < page; mapped++)
                    handles[mapped].Release();
                return status;
            }

            handles[page] = handle!;
        }

        ring = new SharedRing(handles, entryBytes);
        return GrantStatus.Okay;
    }

    /// <summary>Takes the next request: a private copy of its first bytes.</summary>
    /// <returns>False when none waits.</returns>
    public bool TryTake(Span<byte> request)
    {
        if (Pending == 0)
            return false;
        Copy(_requestsTaken, request, toRing: false);
        _requestsTaken++;
        return true;
    }

    /// <summary>Takes the next request as a structure.</summary>
    public bool TryTake<T>(out T request)
        where T : unmanaged
    {
        Unsafe.SkipInit(out request);
        return TryTake(MemoryMarshal.AsBytes(new Span<T>(ref request)));
    }

    /// <summary>Puts a response into the next slot; the frontend sees it after <see cref="Publish"/>.</summary>
    /// <exception cref="InvalidOperationException">There is no request left to answer.</exception>
    public void Put(ReadOnlySpan<byte> response)
    {
        if (InFlight == 0)
            throw new InvalidOperationException("There is no request left to answer in this ring.");
        Copy(_responsesPut, MemoryMarshal.CreateSpan(ref MemoryMarshal.GetReference(response), response.Length), toRing: true);
        _responsesPut++;
    }

    /// <summary>Puts a response.</summary>
    public void Put<T>(in T response)
        where T : unmanaged =>
        Put(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in response)));

    /// <summary>Shows the frontend all responses put so far.</summary>
    /// <returns>True when it asked to be notified of one of them.</returns>
    public bool Publish()
    {
        uint old = _responsesPublished;
        Volatile.Write(ref Index(ResponseProducer), _responsesPut);
        _responsesPublished = _responsesPut;
        // The frontend sets its event and looks at the producer then; here it is the other way round. One of the two sees the other.
        Interlocked.MemoryBarrier();
        return _responsesPut - Volatile.Read(ref Index(ResponseEvent)) < _responsesPut - old;
    }

    /// <summary>To be called before the backend rests: asks to be notified of the next request.</summary>
    /// <param name="wanted">How many requests must wait for it to be worth while.</param>
    /// <returns>True when they came meanwhile, so that there is no rest.</returns>
    public bool FinalCheck(int wanted = 1)
    {
        if (Pending >= wanted)
            return true;
        Volatile.Write(ref Index(RequestEvent), _requestsTaken + (uint)wanted);
        Interlocked.MemoryBarrier();
        return Pending >= wanted;
    }

    /// <summary>Releases the pages.</summary>
    public void Dispose()
    {
        if (_addresses[0] == 0)
            return;
        IsBroken = true;
        foreach (GrantHandle page in _pages)
            page.Release();
        Array.Clear(_addresses);
    }

    // SAFETY: the first page is mapped until Dispose, and the four indices are its first 16 bytes. After Dispose the address is null: an exception, never other memory.
    private ref uint Index(int offset) => ref *(uint*)(_addresses[0] + offset);

    private void Copy(uint index, Span<byte> bytes, bool toRing)
    {
        if (bytes.Length > _entryBytes)
            throw new ArgumentException($"{bytes.Length} bytes in a slot of {_entryBytes}.", nameof(bytes));
        int offset = HeaderBytes + ((int)(index & (uint)(Entries - 1)) * _entryBytes);
        while (!bytes.IsEmpty)
        {
            int inPage = offset & (PageBytes - 1);
            int length = Math.Min(bytes.Length, PageBytes - inPage);
            // SAFETY: the slot lies in the ring's pages, and this piece of it inside one of them.
            Span<byte> piece = new((void*)(_addresses[offset / PageBytes] + inPage), length);
            if (toRing)
                bytes[..length].CopyTo(piece);
            else
                piece.CopyTo(bytes);
            bytes = bytes[length..];
            offset += length;
        }
    }
}
