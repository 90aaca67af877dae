using System.Text;
using System.Text.Json;
using Tessera.Experiments.Hosts;
using Tessera.Kernel.Machines;
using Tessera.Kernel.Time;
using Tessera.Lab.Folders;

namespace Tessera.Experiments.Machines;

/// <summary>
/// A recording: a line that says of what run, one for each thing that came from outside, and one for the end; each a JSON object. Written as things come in, so that it is there up to
/// the last of them whatever ends the run.
/// </summary>
public sealed class RunRecording : IDisposable
{
    private const string Format = "tessera.recording/1";
    private const long MostBytes = 1L << 30;

    private readonly FileStream _file;

    private RunRecording(FileStream file) => _file = file;

    /// <summary>Begins one.</summary>
    /// <exception cref="FailedException">The file cannot be written.</exception>
    public static RunRecording Create(string path, JsonElement configuration, VirtualTimeOptions time)
    {
        try
        {
            RunRecording recording = new(new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read));
            recording.Write(writer =>
            {
                writer.WriteString("format", Format);
                writer.WriteString("wallClock", time.WallClock);
                writer.WriteString("cpu", HostFactsReader.Read().Cpu);
                writer.WritePropertyName("configuration");
                configuration.WriteTo(writer);
            });
            return recording;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FailedException($"--record {path}: {e.Message}");
        }
    }

    /// <summary>Adds something that came.</summary>
    public void Add(OutsideEvent arrival) => Write(writer =>
    {
        writer.WriteNumber("step", arrival.Step);
        writer.WriteNumber("at", arrival.At);
        if (arrival.Source.Length == 0)
        {
            writer.WriteBoolean("end", true);
            return;
        }

        writer.WriteString("source", arrival.Source);
        writer.WriteBase64String("data", arrival.Data);
    });

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>The kernel's command line of the first domain of a recorded run; null when it had none or nobody can say.</summary>
    public static string? CommandLineOf(string path)
    {
        try
        {
            using StreamReader reader = new(path);
            using JsonDocument head = JsonDocument.Parse(reader.ReadLine() ?? "");
            return head.RootElement.GetProperty("configuration").GetProperty("domains")[0].GetProperty("cmdline").GetString();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException)
        {
            // What is wrong with it is said when it is read.
            return null;
        }
    }

    /// <summary>Reads one that was made with this configuration.</summary>
    /// <param name="path">The file.</param>
    /// <param name="configuration">The configuration.</param>
    /// <param name="wallClock">The wall clock at its start.</param>
    /// <exception cref="UsageException">It is none, or of another run.</exception>
    public static IReadOnlyList<OutsideEvent> Read(string path, JsonElement configuration, out DateTimeOffset wallClock)
    {
        try
        {
            string[] lines = Encoding.UTF8.GetString(InputFile.Read(path, MostBytes)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            using JsonDocument head = JsonDocument.Parse(lines.FirstOrDefault("{}"));
            if (!head.RootElement.TryGetProperty("format", out JsonElement format) || format.GetString() != Format)
                throw new UsageException($"--replay {path}: this is not a recording of a run ({Format}). `--record FILE` makes one.");
            wallClock = head.RootElement.GetProperty("wallClock").GetDateTimeOffset();
            if (!JsonElement.DeepEquals(head.RootElement.GetProperty("configuration"), configuration))
                throw new UsageException($"--replay {path}: it was recorded from a run with another configuration. Give the same command line and files; its first line says which they were.");
            string cpu = head.RootElement.GetProperty("cpu").GetString()!;
            if (cpu != HostFactsReader.Read().Cpu)
                throw new UsageException($"--replay {path}: it was recorded on another processor ({cpu}), which guests can see. Replay it there.");
            return [.. lines.Skip(1).Select(Event)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new UsageException($"--replay {path}: {e.Message}");
        }
    }

    private static OutsideEvent Event(string line)
    {
        using JsonDocument document = JsonDocument.Parse(line);
        JsonElement root = document.RootElement;
        bool isEnd = root.TryGetProperty("end", out _);
        return new OutsideEvent(
            root.GetProperty("step").GetInt64(),
            root.GetProperty("at").GetInt64(),
            isEnd ? "" : root.GetProperty("source").GetString()!,
            isEnd ? [] : root.GetProperty("data").GetBytesFromBase64());
    }

    private void Write(Action<Utf8JsonWriter> members)
    {
        using (Utf8JsonWriter writer = new(_file))
        {
            writer.WriteStartObject();
            members(writer);
            writer.WriteEndObject();
        }

        _file.WriteByte((byte)'\n');
        _file.Flush();
    }
}
