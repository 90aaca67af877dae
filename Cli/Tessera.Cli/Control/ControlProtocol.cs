using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Tessera.Cli.Control;

/// <summary>
/// The language of a control socket, "tessera.control/1": each request is a line of JSON and is answered by one, as many a connection as
/// wanted. Within a number keys and commands are only ever added; unknown keys are ignored. docs/control.md describes it.
/// </summary>
internal static class ControlProtocol
{
    /// <summary>Name and number.</summary>
    public const string Name = "tessera.control/1";

    /// <summary>The longest line, bytes.</summary>
    public const int LongestLine = 64 * 1024;

    /// <summary>A request's line, without the line feed.</summary>
    public static string Write(ControlRequest request) => JsonSerializer.Serialize(request, ControlJson.Compact.ControlRequest);

    /// <summary>A reply's line, without the line feed.</summary>
    public static string Write(ControlReply reply) => JsonSerializer.Serialize(reply, ControlJson.Compact.ControlReply);

    /// <summary>Reads a request.</summary>
    /// <exception cref="ControlException">It is none, or of another number.</exception>
    public static ControlRequest ReadRequest(string line)
    {
        try
        {
            ControlRequest request = JsonSerializer.Deserialize(line, ControlJson.Compact.ControlRequest)
                ?? throw new ControlException(ControlCode.BadRequest, "The request is null instead of an object.");
            return request.Protocol == Name
                ? request
                : throw new ControlException(ControlCode.BadRequest, $"The request speaks \"{request.Protocol}\" and this machine \"{Name}\". Use the `tessera ctl` of the Tessera that runs the machine.");
        }
        catch (JsonException e)
        {
            throw new ControlException(ControlCode.BadRequest, $"The request is not a line of JSON with \"protocol\" and \"command\": {e.Message}");
        }
    }

    /// <summary>Reads a reply.</summary>
    /// <exception cref="JsonException">It is none.</exception>
    public static ControlReply ReadReply(string line) => JsonSerializer.Deserialize(line, ControlJson.Compact.ControlReply) ?? throw new JsonException("null");
}

/// <summary>What is asked.</summary>
internal sealed record ControlRequest
{
    /// <summary>The language.</summary>
    public required string Protocol { get; init; }

    /// <summary>The command's name.</summary>
    public required string Command { get; init; }

    /// <summary>Its arguments, an object; absent for none.</summary>
    public JsonElement? Arguments { get; init; }
}

/// <summary>What is answered.</summary>
internal sealed record ControlReply
{
    /// <summary>The language.</summary>
    public required string Protocol { get; init; }

    /// <summary>Whether it was done.</summary>
    public required bool Ok { get; init; }

    /// <summary>Why not, a word for programs (<see cref="ControlCode"/>); absent when it was done.</summary>
    public string? Code { get; init; }

    /// <summary>What was done, or why not and what would be right, for people.</summary>
    public required string Message { get; init; }

    /// <summary>The command's data; absent for none.</summary>
    public JsonElement? Result { get; init; }

    /// <summary>The reply to what went wrong.</summary>
    public static ControlReply Of(ControlException error) => new() { Protocol = ControlProtocol.Name, Ok = false, Code = error.Code, Message = error.Message };
}

/// <summary>The codes of refusals.</summary>
internal static class ControlCode
{
    /// <summary>Not a request, or its arguments are not what the command takes.</summary>
    public const string BadRequest = "bad-request";

    /// <summary>There is no such command.</summary>
    public const string UnknownCommand = "unknown-command";

    /// <summary>There is no domain of this name.</summary>
    public const string UnknownDomain = "unknown-domain";

    /// <summary>The domain's state does not allow it.</summary>
    public const string WrongState = "wrong-state";

    /// <summary>A value or a plugin cannot be used; nothing was changed.</summary>
    public const string Refused = "refused";

    /// <summary>The new scheduler failed while it took over; the fallback is in charge.</summary>
    public const string Ejected = "ejected";

    /// <summary>The run is building its domains, or too many ask at once; nothing was changed.</summary>
    public const string Busy = "busy";

    /// <summary>The run is over.</summary>
    public const string Ended = "ended";

    /// <summary>A bug.</summary>
    public const string Failed = "failed";

    /// <summary>Whether the asker should have asked otherwise.</summary>
    public static bool IsUsage(string? code) => code is BadRequest or UnknownCommand or UnknownDomain or WrongState or Refused;
}

/// <summary>A command is refused.</summary>
internal sealed class ControlException(string code, string message) : Exception(message)
{
    /// <summary>One of <see cref="ControlCode"/>.</summary>
    public string Code { get; } = code;
}

/// <summary>Serialisation of the protocol.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ControlRequest))]
[JsonSerializable(typeof(ControlReply))]
internal sealed partial class ControlJson : JsonSerializerContext
{
    /// <summary>One line each.</summary>
    public static ControlJson Compact { get; } = new(Form(indented: false));

    /// <summary>For people.</summary>
    public static ControlJson Indented { get; } = new(Form(indented: true));

    private static JsonSerializerOptions Form(bool indented) => new()
    {
        WriteIndented = indented,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };
}
