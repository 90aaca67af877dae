using System.Buffers;
using System.Net;
using System.Text.Encodings.Web;
using System.Text.Json;
using Tessera.Hosting;
using Tessera.Kernel.Domains;
using Tessera.Kernel.FastPath;
using Tessera.Kernel.Machines;
using Tessera.Kernel.Time;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Configuration;

/// <summary>What the plugins and guests made of an experiment's open ends: options with their defaults, memory sizes.</summary>
public sealed record ResolvedParts
{
    /// <summary>The engine's options record; null for none.</summary>
    public object? EngineOptions { get; init; }

    /// <summary>The MMU plugin's.</summary>
    public object? MmuOptions { get; init; }

    /// <summary>The memory policy's.</summary>
    public object? MemoryPolicyOptions { get; init; }

    /// <summary>The scheduler's.</summary>
    public object? SchedulerOptions { get; init; }

    /// <summary>For each item of domains.</summary>
    public required IReadOnlyList<ResolvedDomain> Domains { get; init; }
}

/// <summary>What was found out about an item of domains.</summary>
/// <param name="GuestOptions">Its guest's options.</param>
/// <param name="SchedulerOptions">Its scheduler options.</param>
/// <param name="Memory">Its memory.</param>
/// <param name="DiskOptions">For each disk the options of its backend and of the layers over it.</param>
/// <param name="NicOptions">For each interface the options of its backend and of the layers over it.</param>
public sealed record ResolvedDomain(
    object? GuestOptions, object? SchedulerOptions, ByteSize Memory, IReadOnlyList<IReadOnlyList<object?>> DiskOptions, IReadOnlyList<IReadOnlyList<object?>> NicOptions);

/// <summary>Writes an experiment back as a configuration with nothing left to defaults.</summary>
public static class ConfigurationWriter
{
    private static readonly JsonWriterOptions Form = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The configuration as an element, for result.json.</summary>
    public static JsonElement Element(Experiment experiment, ResolvedParts parts)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter writer = new(buffer, Form))
            Write(writer, experiment, parts);
        using JsonDocument document = JsonDocument.Parse(buffer.WrittenMemory);
        return document.RootElement.Clone();
    }

    /// <summary>An element as a file's text.</summary>
    public static string Text(JsonElement element)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter writer = new(buffer, Form))
            element.WriteTo(writer);
        return System.Text.Encoding.UTF8.GetString(buffer.WrittenSpan) + "\n";
    }

    private static void Write(Utf8JsonWriter writer, Experiment experiment, ResolvedParts parts)
    {
        writer.WriteStartObject();
        writer.WriteStartObject(ConfigurationKeys.Machine);
        writer.WriteString(ConfigurationKeys.Engine, experiment.Machine.Engine.Name);
        Options(writer, ConfigurationKeys.EngineOptions, parts.EngineOptions);
        if (experiment.Machine.VirtualTime is null)
            Numbers(writer, ConfigurationKeys.Pcpus, experiment.Machine.HostCpus);
        else
            writer.WriteNumber(ConfigurationKeys.Pcpus, experiment.Machine.HostCpus.Count);
        // What the host has at the moment is no part of a run that can be repeated.
        writer.WriteString(ConfigurationKeys.MemoryLimit, experiment.Machine is { VirtualTime: not null, IsMemoryLimitAuto: true } ? ConfigurationKeys.Auto : experiment.Machine.MemoryLimit.ToString());
        writer.WriteString(ConfigurationKeys.ConsoleLimit, experiment.Machine.ConsoleLimit.ToString());
        writer.WriteString(ConfigurationKeys.Mmu, experiment.Machine.Mmu.Name);
        Options(writer, ConfigurationKeys.MmuOptions, parts.MmuOptions);
        writer.WriteString(ConfigurationKeys.MemoryPolicy, experiment.Machine.MemoryPolicy.Name);
        Options(writer, ConfigurationKeys.MemoryPolicyOptions, parts.MemoryPolicyOptions);
        Time(writer, experiment.Machine.VirtualTime);
        writer.WriteString(ConfigurationKeys.FastPaths, experiment.Machine.FastPaths == FastPathMode.Off ? ConfigurationKeys.Off : ConfigurationKeys.Auto);
        writer.WriteEndObject();
        writer.WriteStartObject(ConfigurationKeys.Scheduler);
        writer.WriteString(ConfigurationKeys.Name, experiment.Scheduler.Name);
        Options(writer, ConfigurationKeys.Options, parts.SchedulerOptions);
        writer.WriteEndObject();
        writer.WriteStartArray(ConfigurationKeys.Domains);
        for (int index = 0; index < experiment.Domains.Count; index++)
            Domain(writer, experiment.Domains[index], parts.Domains[index]);
        writer.WriteEndArray();
        Duration(writer, ConfigurationKeys.Duration, experiment.Duration);
        if (experiment.MeasureAfter is { } after)
            Duration(writer, ConfigurationKeys.MeasureAfter, after);
        else
            writer.WriteString(ConfigurationKeys.MeasureAfter, ConfigurationKeys.Ready);
        Duration(writer, ConfigurationKeys.ReadyTimeout, experiment.ReadyTimeout);
        writer.WriteEndObject();
    }

    private static void Time(Utf8JsonWriter writer, VirtualTimeOptions? time)
    {
        writer.WriteString(ConfigurationKeys.Time, time is null ? ConfigurationKeys.Real : ConfigurationKeys.Virtual);
        if (time is null)
            return;
        writer.WriteStartObject(ConfigurationKeys.VirtualTime);
        writer.WriteNumber(ConfigurationKeys.InstructionsPerMicrosecond, time.InstructionsPerMicrosecond);
        Duration(writer, ConfigurationKeys.TrapCost, time.TrapCost);
        Duration(writer, ConfigurationKeys.DeviceDelay, time.DeviceDelay);
        Duration(writer, ConfigurationKeys.Turn, time.Turn);
        writer.WriteString(ConfigurationKeys.WallClock, time.WallClock.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture));
        writer.WriteNumber(ConfigurationKeys.Seed, time.Seed);
        writer.WriteEndObject();
    }

    private static void Domain(Utf8JsonWriter writer, DomainSettings domain, ResolvedDomain resolved)
    {
        writer.WriteStartObject();
        writer.WriteString(ConfigurationKeys.Name, domain.Name);
        writer.WriteNumber(ConfigurationKeys.Count, domain.Count);
        if (domain.Guest is not null)
            writer.WriteString(ConfigurationKeys.Guest, domain.Guest);
        Options(writer, ConfigurationKeys.GuestOptions, resolved.GuestOptions);
        if (domain.Kernel is not null)
            writer.WriteString(ConfigurationKeys.Kernel, domain.Kernel);
        if (domain.Initrd is not null)
            writer.WriteString(ConfigurationKeys.Initrd, domain.Initrd);
        if (domain.Cmdline is not null)
            writer.WriteString(ConfigurationKeys.Cmdline, domain.Cmdline);
        writer.WriteStartArray(ConfigurationKeys.Script);
        foreach (string line in domain.Script)
            writer.WriteStringValue(line);
        writer.WriteEndArray();
        writer.WriteString(ConfigurationKeys.Memory, resolved.Memory.ToString());
        writer.WriteNumber(ConfigurationKeys.Weight, domain.Weight);
        Options(writer, ConfigurationKeys.Scheduler, resolved.SchedulerOptions);
        if (domain.Affinity is null)
            writer.WriteString(ConfigurationKeys.Affinity, ConfigurationKeys.All);
        else
            Numbers(writer, ConfigurationKeys.Affinity, domain.Affinity);
        Duration(writer, ConfigurationKeys.StartDelay, domain.StartDelay);
        writer.WriteNumber(ConfigurationKeys.Vcpus, domain.Vcpus);
        Disks(writer, domain.Disks, resolved.DiskOptions);
        Nics(writer, domain.Nics, resolved.NicOptions);
        writer.WriteEndObject();
    }

    private static void Disks(Utf8JsonWriter writer, IReadOnlyList<DiskSettings> disks, IReadOnlyList<IReadOnlyList<object?>> options)
    {
        writer.WriteStartArray(ConfigurationKeys.Disks);
        for (int index = 0; index < disks.Count; index++)
        {
            DiskSettings disk = disks[index];
            writer.WriteStartObject();
            writer.WriteString(ConfigurationKeys.Name, disk.Name);
            writer.WriteString(ConfigurationKeys.Backend, disk.Backend.Name);
            Options(writer, ConfigurationKeys.Options, options[index][0]);
            writer.WriteBoolean(ConfigurationKeys.ReadOnly, disk.IsReadOnly);
            writer.WriteBoolean(ConfigurationKeys.PersistentGrants, disk.PersistentGrants);
            Layers(writer, disk.Layers, options[index]);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void Nics(Utf8JsonWriter writer, IReadOnlyList<NicSettings> nics, IReadOnlyList<IReadOnlyList<object?>> options)
    {
        writer.WriteStartArray(ConfigurationKeys.Nics);
        for (int index = 0; index < nics.Count; index++)
        {
            NicSettings nic = nics[index];
            writer.WriteStartObject();
            writer.WriteString(ConfigurationKeys.Backend, nic.Backend.Name);
            Options(writer, ConfigurationKeys.Options, options[index][0]);
            if (nic.Address is { } address)
                writer.WriteString(ConfigurationKeys.Mac, address.ToString());
            writer.WriteBoolean(ConfigurationKeys.AntiSpoofing, nic.AntiSpoofing);
            writer.WriteStartArray(ConfigurationKeys.Addresses);
            foreach (IPAddress own in nic.Addresses)
                writer.WriteStringValue(own.ToString());
            writer.WriteEndArray();
            if (nic.BytesPerSecond > 0)
                writer.WriteString(ConfigurationKeys.Rate, new ByteSize(nic.BytesPerSecond).ToString());
            Layers(writer, nic.Layers, options[index]);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void Layers(Utf8JsonWriter writer, IReadOnlyList<PluginChoice> layers, IReadOnlyList<object?> options)
    {
        writer.WriteStartArray(ConfigurationKeys.Layers);
        for (int layer = 0; layer < layers.Count; layer++)
        {
            writer.WriteStartObject();
            writer.WriteString(ConfigurationKeys.Backend, layers[layer].Name);
            Options(writer, ConfigurationKeys.Options, options[layer + 1]);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void Options(Utf8JsonWriter writer, string key, object? options)
    {
        if (options is null)
            return;
        writer.WriteStartObject(key);
        foreach ((string name, object? value) in OptionBinder.Values(options))
        {
            writer.WritePropertyName(name);
            switch (value)
            {
                case null: writer.WriteNullValue(); break;
                case bool flag: writer.WriteBooleanValue(flag); break;
                case int number: writer.WriteNumberValue(number); break;
                case long number: writer.WriteNumberValue(number); break;
                case double number: writer.WriteNumberValue(number); break;
                default: writer.WriteStringValue(value.ToString()); break;
            }
        }

        writer.WriteEndObject();
    }

    private static void Duration(Utf8JsonWriter writer, string key, Nanoseconds duration) => writer.WriteString(key, NanosecondsText.Format(duration));

    private static void Numbers(Utf8JsonWriter writer, string key, IReadOnlyList<int> numbers)
    {
        writer.WriteStartArray(key);
        foreach (int number in numbers)
            writer.WriteNumberValue(number);
        writer.WriteEndArray();
    }
}
