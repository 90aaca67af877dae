using System.CommandLine;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Tessera.Cli.Control;

/// <summary>
/// One command of a control socket, both sides of it: what `tessera ctl` reads from its command line, and what the running machine does.
/// Each is one class; <see cref="Composition.CliServices"/> lists them.
/// </summary>
internal interface IControlCommand
{
    /// <summary>The name, in requests and on the command line.</summary>
    string Name { get; }

    /// <summary>The command's part of the command line; its action asks through the client.</summary>
    Command Build(ControlClient client);

    /// <summary>
    /// Does it, on the thread of the connection, which may take its time; what touches the machine goes through
    /// <see cref="ControlDesk.Do{T}"/>, to the run's own thread.
    /// </summary>
    /// <param name="desk">The way to the run.</param>
    /// <param name="arguments">The request's arguments, an object.</param>
    /// <exception cref="ControlException">It is refused.</exception>
    ControlAnswer Run(ControlDesk desk, JsonElement arguments);
}

/// <summary>What a command answers when it was done.</summary>
/// <param name="Message">A sentence for people.</param>
/// <param name="Result">Data for programs; null for none.</param>
internal sealed record ControlAnswer(string Message, JsonNode? Result = null)
{
    /// <summary>What uses the connection from here on, in place of requests, given what came after the request; null for nothing. It returns when it is done.</summary>
    public Action<Socket, ReadOnlyMemory<byte>>? TakeOver { get; init; }
}

/// <summary>A reply's line, and what uses the connection after it.</summary>
/// <param name="Reply">The line.</param>
/// <param name="TakeOver">As <see cref="ControlAnswer.TakeOver"/>.</param>
internal readonly record struct ControlLine(string Reply, Action<Socket, ReadOnlyMemory<byte>>? TakeOver)
{
    /// <summary>A line that the next request may follow.</summary>
    public static implicit operator ControlLine(string reply) => new(reply, null);
}

/// <summary>Reads a request's arguments.</summary>
internal static class ControlArguments
{
    /// <summary>A text that must be there.</summary>
    public static string Text(JsonElement arguments, string key) =>
        arguments.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 } text
            ? text
            : throw new ControlException(ControlCode.BadRequest, $"The argument \"{key}\" is missing or is not a string.");

    /// <summary>A list of texts; empty when it is absent.</summary>
    public static IReadOnlyList<string> Texts(JsonElement arguments, string key)
    {
        if (!arguments.TryGetProperty(key, out JsonElement value))
            return [];
        if (value.ValueKind != JsonValueKind.Array || value.EnumerateArray().Any(item => item.ValueKind != JsonValueKind.String))
            throw new ControlException(ControlCode.BadRequest, $"The argument \"{key}\" is not a list of strings.");
        return [.. value.EnumerateArray().Select(item => item.GetString()!)];
    }
}
