using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Tessera.Cli.Terminal;

/// <summary>The calls of termios(3) and poll(2). Linux x86-64 layouts.</summary>
internal static partial class Native
{
    public const int StandardInput = 0;
    public const short PollIn = 0x0001;
    public const short PollHangup = 0x0010;
    public const int Now = 0;
    public const int Interrupted = 4;
    public const int TryAgain = 11;

    private const string Library = "libc.so.6";

    [LibraryImport(Library, EntryPoint = "tcgetattr", SetLastError = true)]
    public static partial int GetAttributes(int descriptor, ref TerminalAttributes attributes);

    [LibraryImport(Library, EntryPoint = "tcsetattr", SetLastError = true)]
    public static partial int SetAttributes(int descriptor, int when, in TerminalAttributes attributes);

    [LibraryImport(Library, EntryPoint = "cfmakeraw")]
    public static partial void MakeRaw(ref TerminalAttributes attributes);

    [LibraryImport(Library, EntryPoint = "poll", SetLastError = true)]
    public static partial int Poll(ref PollDescriptor descriptors, nuint count, int milliseconds);

    [LibraryImport(Library, EntryPoint = "read", SetLastError = true)]
    public static partial nint Read(int descriptor, Span<byte> buffer, nuint count);

    /// <summary>struct termios: 60 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct TerminalAttributes
    {
        public uint InputFlags;
        public uint OutputFlags;
        public uint ControlFlags;
        public uint LocalFlags;
        public byte Line;
        public ControlCharacters Characters;
        public uint InputSpeed;
        public uint OutputSpeed;
    }

    /// <summary>The array c_cc.</summary>
    [InlineArray(32)]
    public struct ControlCharacters
    {
        private byte _first;
    }

    /// <summary>struct pollfd.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct PollDescriptor
    {
        public int Descriptor;
        public short Events;
        public short Returned;
    }
}
