using System.Text;
using Tmds.Linux;

namespace Tessera.Cli.Terminal;

/// <summary>Standard output or error could not be written.</summary>
internal sealed class OutputException(string message, Exception cause) : Exception(message, cause);

/// <summary>Standard output and standard error as writers that say what is wrong with them, or bear it.</summary>
internal static class StandardWriters
{
    private const int StandardOutput = 1;
    private const short PollError = 0x0008;
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

    /// <summary>Standard output. What cannot be written there is an <see cref="OutputException"/>: results must not get lost in silence.</summary>
    public static TextWriter Output() => new Guarded(OutputStream(), Fail);

    /// <summary>Standard output as bytes.</summary>
    public static Stream OutputStream() => Open(Console.OpenStandardOutput);

    /// <summary>Whether standard output is a pipe that nobody reads any more. The runtime's own stream drops what is written there without a word.</summary>
    public static unsafe bool OutputIsGone()
    {
        pollfd descriptor = new() { fd = StandardOutput };

        // SAFETY: one descriptor on this stack.
        return LibC.poll(&descriptor, 1, 0) > 0 && (descriptor.revents & PollError) != 0;
    }

    /// <summary>Standard error. What cannot be written there is dropped: a run must not fail because its terminal has gone.</summary>
    public static TextWriter Error() => new Guarded(Open(Console.OpenStandardError), static _ => { });

    /// <summary>A writer over a stream, for tests.</summary>
    internal static TextWriter Over(Stream stream, bool isOutput) => new Guarded(stream, isOutput ? Fail : static _ => { });

    private static void Fail(Exception exception) =>
        throw new OutputException($"standard output cannot be written: {(exception.Message.Length > 0 ? exception.Message.TrimEnd('.') : "it is closed")}.", exception);

    private static Stream Open(Func<Stream> open)
    {
        try
        {
            return open();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new Closed(e);
        }
    }

    /// <summary>A descriptor that was closed before the program began.</summary>
    private sealed class Closed(Exception cause) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new IOException(cause.Message, cause);
    }

    /// <summary>Writes UTF-8 at once. Any thread.</summary>
    private sealed class Guarded(Stream stream, Action<Exception> failed) : TextWriter
    {
        private readonly Lock _gate = new();

        public override Encoding Encoding => Utf8;

        public override void Write(char value) => Write(new ReadOnlySpan<char>(in value));

        public override void Write(char[] buffer, int index, int count) => Write(buffer.AsSpan(index, count));

        public override void Write(string? value) => Write(value.AsSpan());

        public override void WriteLine(string? value) => Write(value + NewLine);

        public override void Write(ReadOnlySpan<char> buffer)
        {
            byte[] bytes = new byte[Utf8.GetMaxByteCount(buffer.Length)];
            int count = Utf8.GetBytes(buffer, bytes);
            try
            {
                lock (_gate)
                {
                    stream.Write(bytes, 0, count);
                    stream.Flush();
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ObjectDisposedException)
            {
                failed(e);
            }
        }
    }
}

/// <summary>Drops blanks at the ends of lines, which tables fill up with: in a file or a pipe nobody wants them.</summary>
internal sealed class TrimmedWriter(TextWriter target) : TextWriter
{
    private int _blanks;

    public override Encoding Encoding => target.Encoding;

    public override void Write(char value) => Write(new ReadOnlySpan<char>(in value));

    public override void Write(char[] buffer, int index, int count) => Write(buffer.AsSpan(index, count));

    public override void Write(string? value) => Write(value.AsSpan());

    public override void Write(ReadOnlySpan<char> buffer)
    {
        StringBuilder kept = new(buffer.Length);
        foreach (char value in buffer)
        {
            if (value == ' ')
            {
                _blanks++;
                continue;
            }

            if (value is not ('\n' or '\r'))
                kept.Append(' ', _blanks);
            _blanks = 0;
            kept.Append(value);
        }

        target.Write(kept.ToString());
    }

    public override void Flush() => target.Flush();
}
