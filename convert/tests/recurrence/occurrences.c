/* Prints the occurrences that libical finds: file, start in seconds since 1970, summary.
   Usage: occurrences FROM TO <LIST-OF-FILES */
#include <libical/ical.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OVERRIDES 64

struct found {
    const char *file;
    time_t from, to;
    time_t overridden[MAX_OVERRIDES];
    int overrides;
};

static void print(const struct found *found, time_t start, icalcomponent *event)
{
    if (start >= found->from && start < found->to)
        printf("%s\t%lld\t%s\n", found->file, (long long)start, icalcomponent_get_summary(event));
}

static void occurrence(icalcomponent *event, struct icaltime_span *span, void *data)
{
    const struct found *found = data;
    for (int i = 0; i < found->overrides; i++)
        if (found->overridden[i] == span->start)
            return;
    print(found, span->start, event);
}

static time_t instant(icalcomponent *event, icalproperty_kind kind)
{
    icalproperty *property = icalcomponent_get_first_property(event, kind);
    struct icaltimetype time = icalproperty_get_datetime_with_component(property, event);
    return icaltime_as_timet_with_zone(time, time.zone);
}

static char *contents(const char *file)
{
    FILE *input = fopen(file, "rb");
    if (!input || fseek(input, 0, SEEK_END))
        exit(2);
    long size = ftell(input);
    char *text = calloc(1, size + 1);
    rewind(input);
    if (fread(text, 1, size, input) != (size_t)size)
        exit(2);
    fclose(input);
    return text;
}

static void expand(struct found *found)
{
    char *text = contents(found->file);
    icalcomponent *calendar = icalparser_parse_string(text), *event;
    free(text);
    if (!calendar || icalcomponent_count_errors(calendar))
        exit(3);
    found->overrides = 0;
    for (event = icalcomponent_get_first_component(calendar, ICAL_VEVENT_COMPONENT); event;
         event = icalcomponent_get_next_component(calendar, ICAL_VEVENT_COMPONENT)) {
        if (!icalcomponent_get_first_property(event, ICAL_RECURRENCEID_PROPERTY))
            continue;
        if (found->overrides == MAX_OVERRIDES)
            exit(4);
        found->overridden[found->overrides++] = instant(event, ICAL_RECURRENCEID_PROPERTY);
        print(found, instant(event, ICAL_DTSTART_PROPERTY), event);
    }
    event = icalcomponent_get_first_component(calendar, ICAL_VEVENT_COMPONENT);
    struct icaltimetype from = icaltime_from_timet_with_zone(found->from - 86400, 0, icaltimezone_get_utc_timezone());
    struct icaltimetype to = icaltime_from_timet_with_zone(found->to + 86400, 0, icaltimezone_get_utc_timezone());
    icalcomponent_foreach_recurrence(event, from, to, occurrence, found);
    icalcomponent_free(calendar);
}

int main(int count, char **arguments)
{
    char line[4096];
    struct found found;
    if (count != 3)
        return 1;
    found.from = atoll(arguments[1]);
    found.to = atoll(arguments[2]);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        found.file = line;
        expand(&found);
    }
    return 0;
}
