package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	// The issuer's image is made from scratch, so that no time zone is found in its file system.
	_ "time/tzdata"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// zones holds the time zones that expressions name, by name. They are looked up once, when an expression is compiled:
// CEL itself would read a zone's file again at each evaluation.
var zones sync.Map

// clockFunctions are the functions of a time stamp that take a time zone, by name: the identifier of the overload, and
// what it is to answer.
var clockFunctions = map[string]struct {
	overload string
	of       func(time.Time) int
}{
	overloads.TimeGetFullYear:     {overloads.TimestampToYearWithTz, time.Time.Year},
	overloads.TimeGetMonth:        {overloads.TimestampToMonthWithTz, func(t time.Time) int { return int(t.Month()) - 1 }},
	overloads.TimeGetDayOfYear:    {overloads.TimestampToDayOfYearWithTz, func(t time.Time) int { return t.YearDay() - 1 }},
	overloads.TimeGetDayOfMonth:   {overloads.TimestampToDayOfMonthZeroBasedWithTz, func(t time.Time) int { return t.Day() - 1 }},
	overloads.TimeGetDate:         {overloads.TimestampToDayOfMonthOneBasedWithTz, time.Time.Day},
	overloads.TimeGetDayOfWeek:    {overloads.TimestampToDayOfWeekWithTz, func(t time.Time) int { return int(t.Weekday()) }},
	overloads.TimeGetHours:        {overloads.TimestampToHoursWithTz, time.Time.Hour},
	overloads.TimeGetMinutes:      {overloads.TimestampToMinutesWithTz, time.Time.Minute},
	overloads.TimeGetSeconds:      {overloads.TimestampToSecondsWithTz, time.Time.Second},
	overloads.TimeGetMilliseconds: {overloads.TimestampToMillisecondsWithTz, func(t time.Time) int { return t.Nanosecond() / 1e6 }},
}

// zonedClocks redefines these functions to use zones.
func zonedClocks() []cel.EnvOption {
	var options []cel.EnvOption
	for name, f := range clockFunctions {
		options = append(options, cel.Function(name, cel.MemberOverload(f.overload,
			[]*cel.Type{cel.TimestampType, cel.StringType}, cel.IntType,
			cel.BinaryBinding(func(at, zone ref.Val) ref.Val {
				location, ok := zones.Load(string(zone.(types.String)))
				if !ok {
					return types.NewErr("unknown time zone")
				}
				return types.Int(f.of(at.(types.Timestamp).In(location.(*time.Location))))
			}))))
	}
	return options
}

var utcOffset = regexp.MustCompile(`^([+-])(0[0-9]|1[0-4]):([0-5][0-9])$`)

// loadZone makes a time zone known: a name of the IANA database, or an offset such as +01:00.
func loadZone(name string) error {
	if _, ok := zones.Load(name); ok {
		return nil
	}
	location, err := time.LoadLocation(name)
	if m := utcOffset.FindStringSubmatch(name); m != nil {
		hours, _ := strconv.Atoi(m[2])
		minutes, _ := strconv.Atoi(m[3])
		seconds := (hours*60 + minutes) * 60
		if m[1] == "-" {
			seconds = -seconds
		}
		location, err = time.FixedZone("", seconds), nil
	}
	if name == "" || name == "Local" {
		err = errors.New("no time zone of its own")
	}
	if err != nil {
		return fmt.Errorf("unknown time zone %q: write a name such as 'Europe/Berlin' or an offset such as '+01:00'", name)
	}
	zones.Store(name, location)
	return nil
}
