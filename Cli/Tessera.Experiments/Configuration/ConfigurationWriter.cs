using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Tessera.Experiments.Configuration;

/// <summary>Writes an experiment back as a configuration with nothing left to defaults.</summary>
public static class ConfigurationWriter
{
    private static readonly JsonWriterOptions Form = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The configuration as an element, for result.json.</summary>
    /// <param name="experiment">The experiment, with what the guests need for what was left open.</param>
    /// <param name="options">What plugins and guests made of their options: records by the path of what they were bound to.</param>
    public static JsonElement Element(Experiment experiment, IReadOnlyDictionary<string, object?> options)
    {
        MachineSettings machine = experiment.Machine;
        bool isVirtual = machine.VirtualTime is not null;
        Experiment whole = experiment with
        {
            Machine = machine with
            {
                Pcpus = isVirtual ? new($"{machine.HostCpus.Count}", []) : new(null, machine.HostCpus),
                // What the host has at the moment is no part of a run that can be repeated.
                MemoryLimit = isVirtual ? machine.MemoryLimit : machine.MostMemory,
            },
        };
        using JsonDocument document = JsonDocument.Parse(Bytes(writer => ConfigurationSchema.Document.Write(writer, whole, options)));
        return document.RootElement.Clone();
    }

    /// <summary>An element as a file's text.</summary>
    public static string Text(JsonElement element) => Encoding.UTF8.GetString(Bytes(element.WriteTo).Span) + "\n";

    /// <summary>What is written, as bytes.</summary>
    internal static ReadOnlyMemory<byte> Bytes(Action<Utf8JsonWriter> write)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter writer = new(buffer, Form))
            write(writer);
        return buffer.WrittenMemory;
    }
}
